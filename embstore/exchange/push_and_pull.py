"""Copy a store, or some of its spaces and layers, to another place: choose the files, check, copy, commit them at once.

Files come into the folder ``.incoming`` first, where a copy that was interrupted finds them again. No reader sees them
there, and no other writer deletes them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, MissingFileError, SpaceMismatchError, StoreError, UsageError
from embstore.base.progress import Observer, Progress
from embstore.base.space import Layers
from embstore.base.table import Table
from embstore.index.updating import readable_card
from embstore.maintain.actions import Action, tabulate
from embstore.storage.catalog import Catalog
from embstore.storage.files import names
from embstore.storage.files.card import Card, store_card
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.copying import (
    LABELS,
    Content,
    Incoming,
    explaining_changes,
    in_order,
    is_stored,
    merged_dataset,
    new_rows,
    open_source,
    shard_hash,
    write_new,
    write_subset,
)
from embstore.storage.remote.manifest import PUBLISHED_NAME, RemoteFile, parse_published, published_bytes
from embstore.storage.remote.writing import stored_files
from embstore.storage.selection import SpaceFilter
from embstore.storage.transaction.manifest import read_snapshot
from embstore.storage.writer import StoreWriter


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a store is copied: some spaces, or all, and their layers, as in a query."""

    spaces: Sequence[str] = ()
    layers: str = "all"


@dataclass(frozen=True, slots=True)
class Part:
    """The files of a store that travel, with the cards of their spaces, which say which layers travel."""

    files: Content
    cards: Mapping[str, Card]
    is_whole: bool  # then they replace what the other place has

    def superseded(self, stored: Iterable[str]) -> list[str]:
        """Return those files of a place whose content is in these files under other names, as after a compaction."""
        folders = {names.SPACES.prefix + space for space in self.cards}
        others = (key for key in stored if key not in self.files)
        return [
            key for key in others
            if self.is_whole
            or (names.kind_of(key) in (names.SHARDS, names.SUMMARIES) and Path(key).parent.name in folders)
        ]  # fmt: skip


def make_part(source: Catalog, stored: Catalog | None, selection: Selection, folder: Path, place: str) -> Part:
    """Return the files that travel, after the check that a place has nothing that would be lost.

    ``stored`` is the store of that place; its texts do not travel again. The folder gets tables and shards that are
    rewritten.
    """
    if not selection.spaces and selection.layers == "all":
        part = _whole(source)
    else:
        cards = SpaceFilter(spaces=selection.spaces).select(source.cards)
        part = _of_spaces(source, cards, selection.layers, stored, folder)
    if stored is not None:
        _check_content(part, source, stored, place)
    return part


def _whole(source: Catalog) -> Part:
    paths, snapshot = source.paths, read_snapshot(source.paths)
    if missing := next(snapshot.missing(paths), None):
        raise DamagedError(f"{missing} is missing, and the manifest names it. Run: embstore repair")
    files = {key: paths.file(key) for key in snapshot.files}
    for card in source.cards.values():
        files |= _derived(source, card)
    return Part(files, dict(source.cards), is_whole=True)


def _of_spaces(source: Catalog, cards: Sequence[Card], layers: str, stored: Catalog | None, folder: Path) -> Part:
    paths, own = source.paths, StorePaths(folder)
    files: Content = {}
    chosen: dict[str, Card] = {}
    for card in cards:
        members = card.layers.select(layers).members
        if members == card.layers.members:
            chosen[card.space] = card
            own_files = [paths.card(card.space), *(shard.path for shard in source.shards[card.space])]
            files |= {paths.key(path): path for path in own_files} | _derived(source, card)
        else:
            chosen[card.space] = replace(card, layers=Layers(members, card.layers.n_blocks, card.layers.top_form))
            files |= _rewritten(source, chosen[card.space], own)
    requested = source.ids_of(card.space for card in cards)
    new = (key for each in write_new(source, stored, cards, requested, own) for key in each.files)
    return Part(files | {key: own.root / key for key in new}, chosen, is_whole=False)


def _derived(source: Catalog, card: Card) -> Content:
    """Return the summaries, current indexes and maps of a space."""
    paths, shards = source.paths, source.shards[card.space]
    files = [shard.summary_path for shard in shards]
    for layer in card.layers:
        path = paths.index(card.space, layer)
        stored = readable_card(path)
        if stored is not None and stored.covers(shard.name for shard in shards):
            files += [path, paths.index_card(path)]
    files += [path for path in (paths.merged(card.space), *paths.map_files(card.space)) if disk.exists(path)]
    return {paths.key(path): path for path in files}


def _rewritten(source: Catalog, card: Card, own: StorePaths) -> Content:
    """Write the shards of a space anew with some of its layers, and return them with its card and indexes."""
    store_card(own, card)
    files = [own.card(card.space)]
    new_names = {}
    for shard in source.shards[card.space]:
        ids = LayerVectors([shard], card.layers.ids[0], card.dim).ids()
        new = write_subset(own, shard, card, ids)
        new_names[shard.name] = new.name
        files += new
    content = {own.key(path): path for path in files}
    for layer in card.layers:
        path = source.paths.index(card.space, layer)
        stored = readable_card(path)
        if stored is not None and stored.covers(new_names):
            key = source.paths.key(path)
            replace(stored, shards=tuple(sorted(new_names.values()))).write(own.root / key)
            index_card = own.index_card(own.root / key)
            content |= {key: path, own.key(index_card): index_card}
    return content


def _check_content(part: Part, source: Catalog, stored: Catalog, place: str) -> None:
    """Check that all that a place has is part of what is copied there."""
    for space, card in part.cards.items():
        if space not in stored.cards:
            continue
        if different := stored.cards[space].differences(card):
            raise _mismatch(stored.cards[space], card, source.cards[space], [*different], place)
        _check_items(part, source, stored, space, place)
    if part.is_whole:
        if others := sorted({*stored.cards} - {*part.cards}):
            raise _other(place, f"the space {others[0]}" if len(others) == 1 else f"the spaces {', '.join(others)}")
        _check_tables(source, stored, place)


def _mismatch(stored: Card, copied: Card, source: Card, different: Sequence[str], place: str) -> SpaceMismatchError:
    """Return the error for a space of which a place has another one, or other layers."""
    if [*different] != ["layers"]:
        return SpaceMismatchError(
            f"{place} has another space of the name {stored.space!r}: its {stored.describe_differences(copied)}. "
            "Nothing was copied. Copy other spaces with ⦃space⦄, or name another place."
        )
    there, here = (",".join(card.layers.names) for card in (stored, copied))
    remedies = []
    if {*stored.layers.members} <= {*source.layers.members}:
        remedies.append(f"To bring those up to date: ⦃space={stored.space}⦄ ⦃layer={there}⦄.")
    other = f"For the layers {here} name another place"
    if not place.startswith("hf://"):
        other += f", or remove the space there first: embstore remove --space {stored.space} --store {place}"
    return SpaceMismatchError(
        f"{place} has the layers {there} of {stored.space}, not {here}. Nothing was copied. "
        + " ".join([*remedies, other])
    )


def _check_items(part: Part, source: Catalog, stored: Catalog, space: str, place: str) -> None:
    card = stored.cards[space]
    others = [shard for shard in stored.shards[space] if stored.paths.key(shard.path) not in part.files]
    if others:
        ids = LayerVectors(others, card.layers.ids[0], card.dim).ids()
        if n := len(np.setdiff1d(ids, source.ids(space))):
            raise _other(place, f"{n:,} items of {space}")


def _check_tables(source: Catalog, stored: Catalog, place: str) -> None:
    cards = {**source.cards, **stored.cards}.values()
    for kind, tables in new_rows(stored, source, cards, None, source.paths.root).items():
        if n_rows := sum(map(len, tables)):
            raise _other(place, f"{n_rows:,} {LABELS[kind]}")
    for path in stored.paths.dataset_files():
        own = source.paths.dataset(path.stem)
        if not disk.exists(own):
            raise _other(place, f"the dataset {path.stem}")
        if (merged := merged_dataset(path, own, None)).n_new or merged.differing:
            raise _other(place, f"other rows of the dataset {path.stem}")


def _other(place: str, what: str) -> StoreError:
    return StoreError(
        f"{place} has other content, which a copy would remove: {what}. Nothing was copied. To keep both, copy single "
        "spaces with ⦃space⦄, or unite the stores with embstore merge; else name another place."
    )


INCOMING = ".incoming"


def copy_store(
    root: Path,
    target: Path,
    selection: Selection,
    observe: Observer,
    verb: str = "push",
    name: str = "",
    *,
    dry_run: bool = False,
) -> Table:
    """Copy a store into a folder: an empty one, an earlier copy, or with single spaces also another store.

    The same call goes on after an interruption, and copies only what is missing.
    """
    own, paths = disk.resolved(root), StorePaths(disk.resolved(target))
    if own == paths.root or (disk.exists(target) and disk.is_same(own, paths.root)):
        raise UsageError(f"{own} is the store itself: name another place.")
    if own in paths.root.parents or paths.root in own.parents:
        inner, outer = sorted((own, paths.root), key=lambda folder: len(folder.parts), reverse=True)
        raise UsageError(f"{inner} is inside {outer}, and a store is no part of another one: name another place.")
    source, name = open_source(own), name or str(paths.root)
    with (
        TemporaryDirectory(prefix="embstore-") as temporary,
        explaining_changes(source),
        nullcontext() if dry_run else StoreWriter(target),
    ):
        stored = _stored(paths)
        part = make_part(source, stored, selection, Path(temporary), name)
        named = {} if stored is None else read_snapshot(paths).files
        missing = [key for key in part.files if not is_stored(key, part.files, named, paths)]
        if not dry_run:
            incoming = Incoming(paths, paths.root / INCOMING)
            for done, key in enumerate(in_order(missing)):
                observe(Progress(verb, name, done, len(missing), done / len(missing)))
                incoming.receive(key, part.files[key])
            incoming.publish(missing, part.superseded(named))
            if verb == "push" and "://" not in name:
                _write_published(paths)
            observe(Progress(verb, name, len(missing), len(missing), 1.0))
        return report(f"would {verb}" if dry_run else f"{verb}ed", part, missing, paths)


def _stored(paths: StorePaths) -> Catalog | None:
    """Return the catalog of a folder; None if it is missing or empty."""
    if not disk.exists(paths.marker):
        if any(not path.name.startswith(".") for path in disk.listed(paths.root)):
            check_marker(paths)  # raises for a folder that contains other files
        return None
    return Catalog(paths.root)


def _write_published(paths: StorePaths) -> None:
    """Write ``manifest.json``, which names the files of a folder for readers through a web server."""
    path, before = paths.root / PUBLISHED_NAME, None
    with suppress(MissingFileError, DamagedError):
        before = parse_published(disk.read(path), str(path))
    old = before.files if before is not None else {}
    files = {key: _entry(paths, key, old.get(key)) for key in stored_files(paths, read_snapshot(paths))}
    if files != old:
        atomic.write_bytes(path, published_bytes(files, before))


def _entry(paths: StorePaths, key: str, before: RemoteFile | None) -> RemoteFile:
    """Return size and hash of a file; its name, or the summary of a shard, has the hash of what is never replaced."""
    size, kind = disk.size(paths.root / key), names.kind_of(key)
    if before is not None and before.size == size and kind is not None and kind.is_immutable:
        return before
    if kind is names.SHARDS:
        return RemoteFile(key, size, shard_hash(paths.root / names.hash_holder(key)))
    return RemoteFile(key, size, disk.sha256(paths.root / key))


def report(verb: str, part: Part, files: Iterable[str], paths: StorePaths) -> Table:
    """Return a row for each space, and for each folder of tables, with new files."""
    n_bytes: Counter[Path] = Counter()
    n_files: dict[Path, Counter[str]] = {}
    for key in files:
        place, noun = _place(key, paths)
        n_bytes[place] += disk.size(part.files[key])
        n_files.setdefault(place, Counter())[noun] += 1
    found = []
    for place in sorted(n_files):
        counts = sorted((noun, n) for noun, n in n_files[place].items() if noun)
        detail = ", ".join(f"{n} {noun}" if n == 1 else f"{n} {_PLURALS[noun]}" for noun, n in counts)
        found.append(Action(verb, place, detail, None, n_bytes[place]))
    return tabulate(found, paths.root)


def rest_of_copy(n_files: int, n_bytes: int) -> Table:
    """Return the report on a copy into a bucket that was interrupted after its mirror had all files."""
    detail = f"{n_files} files, the rest of an interrupted copy"
    return tabulate([Action("pushed", Path(), detail, None, n_bytes)], Path())


_PLURALS = {"index": "indexes", "map": "maps", "shard": "shards", "table": "tables"}


def _place(key: str, paths: StorePaths) -> tuple[Path, str]:
    """Return the folder or file that a file is reported with, and the noun that is counted there."""
    kind, name = names.kind_of(key), Path(key)
    assert kind is not None
    if kind in (names.CARDS, names.MERGED) or kind.by_space:
        space = name.parent.name.removeprefix(names.SPACES.prefix) if kind.by_space else name.stem
        return paths.embeddings(space), kind.noun
    return (paths.root / key if kind is names.DATASETS else paths.root / kind.folder), kind.noun
