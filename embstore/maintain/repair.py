"""Repair a store: move damaged files into its folder ``damaged``, commit that, and compute what is
derived again.
"""

from collections.abc import Iterable
from pathlib import Path

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.messages import count
from embstore.base.table import Table
from embstore.maintain.upkeep import Action, keys_of_layers, locked, rebuild, tabulate
from embstore.maintain.verify import find_problems, unexpected_entries
from embstore.storage import keys
from embstore.storage.cache import StoreFiles
from embstore.storage.card import read_card
from embstore.storage.compact import in_place
from embstore.storage.manifest import NO_ITEMS, ItemSet

LEFT = "left"
"""The action for damage that this command cannot repair."""
_DERIVED_TOO = "Cached answers and maps go too: they may have been computed from damaged vectors."


def repair(place: Path | StoreFiles, *, dry_run: bool = False) -> Table:
    """Repair a store: damaged files move into the folder ``damaged``, and what is derived from
    others is rebuilt.

    The next build of the same sources embeds exactly the items that are missing then, and writes
    the missing texts. Damaged cards are left in place and reported.

    Raises:
        DamagedError: The newest manifest is damaged; no older, smaller state is taken for the
            store. Or there is a link or a device among the files.
    """
    files = StoreFiles.of_folder(place)
    leftovers = _leftovers(files)  # of which the lock removes some
    with locked(files, dry_run=dry_run):
        irregular, _ = unexpected_entries(files)
        if irregular:
            raise DamagedError(f"{irregular[0].file} is damaged: {irregular[0].problem}.")
        work = _Repair(files, dry_run)
        work.run()
        work.remove_leftovers(leftovers)
        return tabulate(work.actions, work.notes, dry_run=dry_run)


def _leftovers(files: StoreFiles) -> list[Path]:
    """Return the temporary files and folders that killed processes have left in a store."""
    below = disk.entries_below(files.root) if files.is_local else ()
    return [path for entry in below if atomic.is_leftover(path := Path(entry.path))]


class _Repair:
    """The repair of one store, whose write lock is held; in a dry run, actions are listed without
    being done.
    """

    def __init__(self, files: StoreFiles, dry_run: bool) -> None:
        self.files, self.dry_run = files, dry_run
        self.named = files.manifest()
        self.problems = find_problems(files, self.named)
        self.actions: list[Action] = []
        self.notes: list[str] = []
        self._removed: set[str] = set()

    def run(self) -> None:
        """Drop damaged files and what belongs to them, and compute sums and indexes again."""
        for key in self.problems:
            self._report(key)
        spaces = self.named.names_of(keys.VECTORS)
        for space in spaces:
            self._drop_incomplete(space)
        if self._removed:
            self.notes.append(_DERIVED_TOO)
        if self._removed and not self.dry_run:
            self._commit()
        for space in spaces:
            self._rebuild(space)

    def _act(self, verb: str, key: str, detail: str, n_items: int | None = None) -> None:
        self.actions.append(Action(verb, key, detail, n_items))

    def _report(self, key: str) -> None:
        """Note what is done about a file that has a problem."""
        parts, problem = self.named.parsed[key], self.problems[key]
        assert parts is not None  # or the manifest would not have been read
        verb, remedy = "taken out", parts.kind.remedy
        if parts.kind is keys.CARDS:
            verb = LEFT
            remedy += f", or give the space up: embstore remove --space {parts.name}"
        elif not problem.is_damage:
            verb, remedy = LEFT, "Repair the store again when the file can be read"
        elif problem.state == "missing":
            verb = "removed"
        if verb != LEFT:
            self._removed.add(key)
        self._act(verb, key, problem.problem, self.named.files[key].get("n"))
        self.notes.append(f"{remedy}.")

    def _shards(self, space: str, layer: int) -> dict[str, ItemSet]:
        """Return the shards of a layer that are kept, with their items, by key."""
        named = self.named.keys_of(keys.VECTORS, space, layer)
        return {
            key: ItemSet.of_entry(self.named.files[key])
            for key in named
            if key not in self._removed
        }

    def _drop_incomplete(self, space: str) -> None:
        """Drop the shards with items that a damaged shard of another layer had, and what was
        computed from them.
        """
        layers = self.named.layers_of(keys.VECTORS, space)
        if self._removed.isdisjoint(keys_of_layers(self.named, keys.VECTORS, space, layers)):
            return
        shards = [self._shards(space, layer) for layer in layers]
        complete = set.intersection(*({*of_layer.values()} for of_layer in shards))
        incomplete = {
            key: items
            for of_layer in shards
            for key, items in of_layer.items()
            if items not in complete
        }
        if incomplete:
            detail = f"{count(len(incomplete), 'shard')} with items that another layer lacks"
            n_items = sum(items.n for items in {*incomplete.values()})
            self._act("removed", keys.folder_of(keys.VECTORS, space), detail, n_items)
        self._removed |= {*incomplete, *self.named.keys_of(keys.SUMS, space)}
        self._removed |= {*keys_of_layers(self.named, keys.INDEXES, space, layers)}

    def _commit(self) -> None:
        """Copy the damaged files into their folder, commit a manifest without them, and remove what
        was computed from them.
        """
        damaged = [
            key
            for key in sorted(self._removed & self.problems.keys())
            if self.problems[key].state == "damaged"
        ]
        for key in damaged:
            with self.files.temporary() as temp:
                self.files.objects.download(key, temp)
                self.files.objects.put({f"{keys.DAMAGED}/{key}": temp})
        for path in disk.files_below(self.files.root / "derived"):
            if keys.parse(path.relative_to(self.files.root).as_posix()):
                path.unlink(missing_ok=True)
        self.files.commit(lambda base: in_place(self.files, base, {}, self._removed))
        self.files.objects.delete(damaged)

    def _rebuild(self, space: str) -> None:
        """Compute the sums and indexes of a space again, unless a file of it is left."""
        if self.problems.keys() & {*self.named.keys_of_space(space)} - self._removed:
            return
        [layer, *_] = self.named.layers_of(keys.VECTORS, space)
        items = sum(self._shards(space, layer).values(), NO_ITEMS)
        if not items.n:
            return
        named = self.named.keys_of(keys.CARDS, space)
        for file in self.files.files_of(self.named, named):
            card = read_card(file, space)
            self.actions += rebuild(
                self.files, self.named, card, items, self._removed, dry_run=self.dry_run
            )

    def remove_leftovers(self, leftovers: Iterable[Path]) -> None:
        """Remove temporary files of killed processes, and what no manifest of the last day
        names.
        """
        for path in leftovers:
            detail = "a process that was killed left it"
            self._act("removed", path.relative_to(self.files.root).as_posix(), detail)
            if not self.dry_run:
                atomic.discard(path)
        if garbage := self.files.garbage():
            n_files = count(len(garbage), "file")
            self._act("removed", ".", f"{n_files} that no manifest of the last day names")
            if not self.dry_run:
                self.files.objects.delete(garbage)
