"""Repair a store: move damaged files into its folder ``damaged``, commit that, and compute what is
derived again.
"""

from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import numpy as np

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.messages import count
from embstore.base.table import Table
from embstore.maintain.upkeep import Action, keys_of_layers, locked, rebuild, tabulate
from embstore.maintain.verify import check_indexes
from embstore.storage import keys, tables
from embstore.storage.arrow import from_numpy, to_numpy
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card
from embstore.storage.check import (
    Ids,
    Problem,
    StoreCheck,
    first_occurrences,
    sound_rows,
    unexpected_entries,
)
from embstore.storage.compact import in_place
from embstore.storage.manifest import NO_ITEMS, Entry, ItemSet
from embstore.storage.vectors import is_among, items_with
from embstore.storage.writer import rewrite_shard

LEFT = "left"
"""The action for damage that this command cannot repair."""
_DERIVED_TOO = "Cached answers and maps go too: they may have been computed from damaged vectors."
_NO_IDS: Ids = np.empty(0, np.int64)


def repair(place: Path | StoreFiles, *, dry_run: bool = False) -> Table:
    """Repair a store: damaged files move into the folder ``damaged``, and what is derived from
    others is rebuilt.

    The next build of the same sources embeds exactly the items that are missing then. Of a damaged
    table of texts, the rows that are intact stay. Damaged cards are left in place and reported.

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
        return tabulate(work.actions, files.root, work.notes, dry_run=dry_run)


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
        self.check = StoreCheck(files, files.manifest())
        self.actions: list[Action] = []
        self.notes: list[str] = []
        self._added: dict[str, Entry] = {}
        self._removed: list[str] = []
        # Those of the removed files that were copied into the folder for them.
        self._damaged: list[str] = []

    def run(self) -> None:
        """Repair tables and spaces, commit that, and compute sums and indexes again."""
        check = self.check
        check.check_contents()
        texts = self._repair_texts()
        check.check_tables()  # columns that contradict others
        items = {space: self._repair_space(card, texts) for space, card in check.cards.items()}
        for key, problem in check.problems.items():
            self._repair_file(key, problem)
        # What follows from damaged files comes after them.
        self.actions.sort(key=lambda action: action.action == LEFT or "space=" in action.file.name)
        if self._removed:
            self.notes.append(_DERIVED_TOO)
        if self._removed and not self.dry_run:
            for path in disk.files_below(self.files.root / "derived"):
                if keys.parse(path.relative_to(self.files.root).as_posix()):
                    path.unlink(missing_ok=True)
            self.files.commit(lambda base: in_place(self.files, base, self._added, self._removed))
            self.files.objects.delete(key for key in self._damaged if key not in self._added)
        for space, of_space in items.items():
            if of_space.n:
                self.actions += rebuild(
                    self.files, check.named, check.cards[space], of_space, self._removed,
                    dry_run=self.dry_run,
                )  # fmt: skip

    def _act(self, verb: str, key: str, detail: str, n_items: int | None = None) -> None:
        cause, _, remedy = detail.partition(". ")
        self.actions.append(Action(verb, self.files.root / key, cause, n_items))
        self.notes += [f"{remedy}."] * bool(remedy)

    def _repair_file(self, key: str, problem: Problem) -> None:
        """Take a file out that has a problem, unless that was repaired in another way."""
        parts, entry = keys.parse(key), self.check.named.files.get(key)
        if key in self._removed:
            return
        if parts is not None and parts.kind.is_derived:
            self._act("removed", key, "it was altered or truncated, and can be made again")
            if not self.dry_run:
                (self.files.root / key).unlink(missing_ok=True)
        elif parts is not None and parts.kind is keys.CARDS:
            cause = problem.problem.partition(". ")[0]
            self._act(
                LEFT,
                key,
                f"{cause}. Restore it from a copy of the store, or give the space up: embstore"
                f" remove --space {parts.name}",
            )
        elif parts is None or entry is None or not problem.is_damage:
            self._act(LEFT, key, problem.problem)
        elif problem.state == "missing":
            self._removed.append(key)
            self._act("removed", key, problem.problem, entry.get("n"))
        else:
            detail = f"{problem.problem.rstrip('.')}. {parts.kind.remedy}"
            self._act("taken out", key, detail, entry.get("n"))
            self._take_out(key)

    def _take_out(self, key: str) -> None:
        """Copy a file into the folder ``damaged``, and drop it from the next manifest."""
        self._removed.append(key)
        self._damaged.append(key)
        if not self.dry_run:
            with self.files.temporary() as temp:
                self.files.objects.download(key, temp)
                self.files.objects.put({f"{keys.DAMAGED}/{key}": temp})

    def _repair_texts(self) -> Ids:
        """Keep the intact rows of the tables of items, each item in one table; return the ids that
        have a text.
        """
        check = self.check
        sound = check.sound(keys.ITEMS)
        others = [key for key in check.named.keys_of(keys.ITEMS) if key in check.problems]
        damaged = check.files.files_of(
            check.named, (key for key in others if check.problems[key].state == "damaged")
        )
        salvaged = {file.key: sound_rows(file, sound) for file in damaged}
        ids = [to_numpy(tables.read_unchecked(file, ["item_id"])["item_id"]) for file in sound]
        ids += [to_numpy(rows["item_id"]) for rows in salvaged.values()]
        for file, is_kept in zip((*sound, *damaged), first_occurrences(ids), strict=True):
            problem = check.problems.get(file.key)
            if problem is None and is_kept.all():
                continue
            if not is_kept.any():
                check.add(file.key, "other tables have all items of it")
                continue
            detail = (
                problem.problem if problem else "other tables, or other rows, have items of it too"
            )
            detail += f". Texts that agree with their ids are kept. {keys.ITEMS.remedy}"
            self._act("rewritten", file.key, detail, int(is_kept.sum()))
            rows = salvaged[file.key] if problem else tables.read_unchecked(file)
            self._take_out(file.key)
            if not self.dry_run:
                self._added |= tables.write(
                    self.files, keys.ITEMS, rows.filter(from_numpy(is_kept))
                )
        return np.unique(np.concatenate([_NO_IDS, *ids]))

    def _repair_space(self, card: Card, texts: Ids) -> ItemSet:
        """Keep the items of a space that every layer has, each once; return them.

        Shards with others are dropped, or rewritten if they have both.
        """
        check, space = self.check, card.space
        shard_keys = {*keys_of_layers(check.named, keys.VECTORS, space, card.layers.ids)}
        damaged = shard_keys & check.problems.keys()
        if any(check.problems[key].state == "unreadable" for key in damaged):
            return NO_ITEMS
        shards = {
            layer: sorted(check.shards(card, layer), key=lambda shard: -shard.n)
            for layer in card.layers.ids
        }
        ids_of = {
            layer: np.unique(np.concatenate([_NO_IDS, *(shard.ids for shard in of_layer)]))
            for layer, of_layer in shards.items()
        }
        common = reduce(np.intersect1d, ids_of.values())
        n_dropped = n_rewritten = 0
        for layer in card.layers:
            of_layer = shards[layer.id]
            for shard, is_first in zip(
                of_layer, first_occurrences([shard.ids for shard in of_layer]), strict=True
            ):
                kept = shard.ids[is_first & is_among(shard.ids, common)]
                if len(kept) == shard.n:
                    continue
                self._removed.append(shard.file.key)
                n_dropped += not len(kept)
                n_rewritten += bool(len(kept))
                if not self.dry_run:
                    self._added |= rewrite_shard(card, layer, shard, kept)
        folder = keys.folder_of(keys.VECTORS, space)
        n_lost = len(reduce(np.union1d, ids_of.values())) - len(common)
        reason = "with items that another layer lacks, or that other shards have too"
        for verb, n in (("removed", n_dropped), ("rewritten", n_rewritten)):
            if n:
                self._act(
                    verb, folder, f"{count(n, 'shard')} {reason}. {keys.VECTORS.remedy}", n_lost
                )
        if n_missing := len(np.setdiff1d(common, texts)):
            self._act(
                LEFT,
                keys.ITEMS.folder,
                f"items of {space} have no text here. {keys.ITEMS.remedy}",
                n_missing,
            )
        items = items_with(common)
        if items == check.named.items_of(space, card.layers.ids[0]):
            check.check_sums(card)
            check_indexes(check, card, common, deep=True)
        else:  # they would be current again if the shards came back
            self._removed += check.named.keys_of(keys.SUMS, space)
            self._removed += keys_of_layers(check.named, keys.INDEXES, space, card.layers.ids)
        return items

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
            self._act(
                "removed",
                "",
                f"{count(len(garbage), 'file')} that no manifest of the last day names",
            )
            if not self.dry_run:
                self.files.objects.delete(garbage)
