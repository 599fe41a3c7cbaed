"""Copy a store, or some of its spaces and layers, to another place: choose the files, check, copy, commit them at once.

Files come into the folder ``.incoming`` first, where a copy that was interrupted finds them again. No reader sees them
there, and no other writer deletes them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from embstore.base import atomic, disk, supply
from embstore.base.errors import (
    DamagedError,
    MissingFileError,
    MissingObjectError,
    SpaceMismatchError,
    StoreError,
    UsageError,
)
from embstore.base.progress import Progress, report_progress
from embstore.base.space import Layers
from embstore.base.table import Table
from embstore.index.updating import readable_card
from embstore.maintain.upkeep import Action, tabulate
from embstore.sources.datasets import DATASETS
from embstore.storage.catalog import Catalog
from embstore.storage import keys
from embstore.storage.card import Card, SpaceFilter, store_card
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.vectors import LayerVectors
from embstore.storage.maintenance import copying
from embstore.storage.remote import cache, manifest
from embstore.storage.remote.mirror import Mirror
from embstore.storage.remote.objects import ObjectReader
from embstore.storage.remote.published import HubDataset, HubObjects
from embstore.storage.remote.remote_store import stored_files
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

    files: copying.Content
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
        snapshot = read_snapshot(source.paths)
        if missing := next(snapshot.missing(source.paths), None):
            raise DamagedError(f"{missing} is missing, and the manifest names it. Run: ⦃embstore repair⦄")
        files = {key: source.paths.file(key) for key in snapshot.files}
        for card in source.cards.values():
            files |= _derived(source, card)
        part = Part(files, dict(source.cards), is_whole=True)
    else:
        cards = SpaceFilter(spaces=selection.spaces).select(source.cards)
        part = _of_spaces(source, cards, selection.layers, stored, folder)
    if stored is not None:
        _check_content(part, source, stored, place)
    return part


def _of_spaces(source: Catalog, cards: Sequence[Card], layers: str, stored: Catalog | None, folder: Path) -> Part:
    paths, own = source.paths, StorePaths(folder)
    files: copying.Content = {}
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
    new = (key for each in copying.write_new(source, stored, cards, requested, own) for key in each.files)
    return Part(files | {key: own.root / key for key in new}, chosen, is_whole=False)


def _derived(source: Catalog, card: Card) -> copying.Content:
    """Return the summaries, current indexes and maps of a space."""
    paths, shards = source.paths, source.shards[card.space]
    files = [shard.summary_path for shard in shards]
    for layer in card.layers:
        path = paths.index(card.space, layer)
        stored = readable_card(path)
        if stored is not None and stored.covers(shard.name for shard in shards):
            files += [path, paths.index_card(path)]
    files += [path for path in (paths.merged(card.space), *paths.files_of(names.MAPS, card.space)) if disk.exists(path)]
    return {paths.key(path): path for path in files}


def _rewritten(source: Catalog, card: Card, own: StorePaths) -> copying.Content:
    """Write the shards of a space anew with some of its layers, and return them with its card and indexes."""
    store_card(own, card)
    files = [own.card(card.space)]
    new_names = {}
    for shard in source.shards[card.space]:
        ids = LayerVectors([shard], card.layers.ids[0], card.dim).ids()
        new = copying.write_subset(own, shard, card, ids)
        new_names[shard.name] = new.name
        files += [new.path, new.summary_path]
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
        if (known := stored.cards.get(space)) is None:
            continue
        if different := known.differences(card):
            raise _mismatch(known, card, source.cards[space], [*different], place)
        shards = [shard for shard in stored.shards[space] if stored.paths.key(shard.path) not in part.files]
        ids = LayerVectors(shards, known.layers.ids[0], known.dim).ids()
        if n := len(np.setdiff1d(ids, source.ids(space))) if shards else 0:
            raise _other(place, f"{n:,} items of {space}")
    if part.is_whole:
        if others := sorted({*stored.cards} - {*part.cards}):
            raise _other(place, f"the space {others[0]}" if len(others) == 1 else f"the spaces {', '.join(others)}")
        cards_of_both = {**source.cards, **stored.cards}.values()
        for kind, tables in copying.new_rows(stored, source, cards_of_both, None, source.paths.root).items():
            if n_rows := sum(map(len, tables)):
                raise _other(place, f"{n_rows:,} {copying.LABELS[kind]}")
        for path in stored.paths.files_of(names.DATASETS):
            own = source.paths.dataset(path.stem)
            if not disk.exists(own):
                raise _other(place, f"the dataset {path.stem}")
            if (merged := copying.merged_dataset(path, own, None)).n_new or merged.differing:
                raise _other(place, f"other rows of the dataset {path.stem}")


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


def _other(place: str, what: str) -> StoreError:
    return StoreError(
        f"{place} has other content, which a copy would remove: {what}. Nothing was copied. To keep both, copy single "
        "spaces with ⦃space⦄, or unite the stores with embstore merge; else name another place."
    )


INCOMING = ".incoming"


def copy_store(
    root: Path, target: Path, selection: Selection, verb: str = "push", name: str = "", *,
    dry_run: bool = False,
) -> Table:  # fmt: skip
    """Copy a store into a folder: an empty one, an earlier copy, or with single spaces also another store.

    The same call goes on after an interruption, and copies only what is missing.
    """
    own, paths = disk.resolved(root), StorePaths(disk.resolved(target))
    if own == paths.root or (disk.exists(target) and disk.is_same(own, paths.root)):
        raise UsageError(f"{own} is the store itself: name another place.")
    if own in paths.root.parents or paths.root in own.parents:
        inner, outer = sorted((own, paths.root), key=lambda folder: len(folder.parts), reverse=True)
        raise UsageError(f"{inner} is inside {outer}, and a store is no part of another one: name another place.")
    source, name = copying.open_source(own), name or str(paths.root)
    with (
        TemporaryDirectory(prefix="embstore-") as temporary,
        copying.explaining_changes(source),
        nullcontext() if dry_run else StoreWriter(target),
    ):
        stored = _stored(paths)
        part = make_part(source, stored, selection, Path(temporary), name)
        named = {} if stored is None else read_snapshot(paths).files
        missing = [key for key in part.files if not copying.is_stored(key, part.files, named, paths)]
        if not dry_run:
            incoming = copying.Incoming(paths, paths.root / INCOMING)
            for done, key in enumerate(copying.in_order(missing)):
                report_progress(Progress(verb, name, done, len(missing), done / len(missing)))
                incoming.receive(key, part.files[key])
            incoming.publish(missing, part.superseded(named))
            if verb == "push" and "://" not in name:
                _write_published(paths)
            report_progress(Progress(verb, name, len(missing), len(missing), 1.0))
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
    path, before = paths.root / manifest.PUBLISHED_NAME, None
    with suppress(MissingFileError, DamagedError):
        before = manifest.parse_published(disk.read(path), str(path))
    old: Mapping[str, manifest.RemoteFile] = before.files if before is not None else {}
    files = {}
    for key in stored_files(paths, read_snapshot(paths)):
        kind, size = names.kind_of(key), disk.size(paths.root / key)
        if key in old and old[key].size == size and kind is not None and kind.is_immutable:
            files[key] = old[key]
            continue
        is_shard = kind is names.SHARDS  # of which the summary has the hash
        sha256 = copying.shard_hash(paths.root / names.hash_holder(key)) if is_shard else disk.sha256(paths.root / key)
        files[key] = manifest.RemoteFile(key, size, sha256)
    if files != old:
        atomic.write_bytes(path, manifest.published_bytes(files, before))


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
        ends = [("" if n == 1 else "es" if noun == "index" else "s") for noun, n in counts]
        detail = ", ".join(f"{n} {noun}{end}" for (noun, n), end in zip(counts, ends, strict=True))
        found.append(Action(verb, place, detail, None, n_bytes[place]))
    return tabulate(found, paths.root)


def rest_of_copy(n_files: int, n_bytes: int) -> Table:
    """Return the report on a copy into a bucket that was interrupted after its mirror had all files."""
    detail = f"{n_files} files, the rest of an interrupted copy"
    return tabulate([Action("pushed", Path(), detail, None, n_bytes)], Path())


def _place(key: str, paths: StorePaths) -> tuple[Path, str]:
    """Return the folder or file that a file is reported with, and the noun that is counted there."""
    kind, space = names.kind_of(key), names.space_of(key)
    assert kind is not None
    if space is not None:
        return paths.embeddings(space), kind.noun
    return (paths.root / key if kind is names.DATASETS else paths.root / kind.folder), kind.noun


_BATCH = 64
_README = "README.md"
MARK = "<!-- Written by embstore push, which replaces this file as long as this line is in it. -->"


def push_to_hub(root: Path, url: str, selection: Selection, *, dry_run: bool = False) -> Table:
    """Copy a store, or some of its spaces, into a dataset repository, which is created, private, if there is none."""
    hub, source = HubDataset(url), copying.open_source(disk.resolved(root))
    if (parent := hub.head()) is None and not dry_run:
        hub.create()
        parent = hub.head()
    objects = HubObjects(hub, parent) if parent is not None else None
    before = manifest.read_published(objects) if objects is not None else None
    with TemporaryDirectory(prefix="embstore-") as folder, ExitStack() as in_use:
        with _mirrored(url, objects, before) as stored:
            part = make_part(source, stored, selection, Path(folder), url)
            cards = {**(stored.cards if stored is not None and not part.is_whole else {}), **part.cards}
            counts = {space: stored.count(space) for space in stored.cards} if stored is not None else {}
            columns = _columns(source, part, None if part.is_whole else stored)
        counts |= {space: source.count(space) for space in part.cards}
        files, missing = _compared(part, before)
        table = report("would push" if dry_run else "pushed", part, missing, StorePaths(Path("/") / "hub"))
        gone = sorted(before.files.keys() - files.keys()) if before is not None else []
        if dry_run or not (missing or gone):
            return table
        if parent is None:
            raise StoreError(f"{url} was created, and is not there yet. Run the same command again.")
        added = []
        for start in range(0, len(missing), _BATCH):
            report_progress(Progress("push", url, start, len(missing), start / len(missing)))
            batch = {key: part.files[key] for key in missing[start : start + _BATCH]}
            for path in batch.values():
                in_use.enter_context(supply.fetched(path))
            added += hub.upload(batch)
        last: dict[str, Path | bytes] = {manifest.PUBLISHED_NAME: manifest.published_bytes(files, before)}
        if _is_own(objects):
            last[_README] = dataset_card(cards, files, url, counts, columns).encode()
        message = f"embstore push: {len(missing)} files" if missing else "embstore push: remove what was replaced"
        hub.commit(added, last, gone, parent, message)
        report_progress(Progress("push", url, len(missing), len(missing), 1.0))
    return table


def _columns(source: Catalog, part: Part, stored: Catalog | None) -> dict[str, tuple[str, int | None]]:
    """Return the type of each column of items that travels or that the place has, and its number of values if known."""
    counts: dict[str, int | None] = {**source.columns.counts()} if part.is_whole else {}
    travels = any(names.kind_of(key) is names.COLUMNS for key in part.files)
    types = {**({} if stored is None else stored.columns.types), **(source.columns.types if travels else {})}
    return {name: (kind, counts.get(name)) for name, kind in types.items()}


@contextmanager
def _mirrored(url: str, objects: ObjectReader | None, state: manifest.RemoteState | None) -> Iterator[Catalog | None]:
    """Yield the catalog of what a repository has, whose content is fetched when it is read; None for no store."""
    if objects is None or state is None:
        yield None
        return
    mirror = Mirror(cache.mirror_folder(url, state.store) / "pushing", objects)
    try:
        with mirror.locked(), supply.supplied(mirror.root, mirror):
            mirror.synchronise(state)
            yield Catalog(mirror.root)
    finally:
        mirror.close()


def _compared(part: Part, before: manifest.RemoteState | None) -> tuple[dict[str, manifest.RemoteFile], list[str]]:
    """Return the files that the repository is to have, and the paths of those that it does not have."""
    old: Mapping[str, manifest.RemoteFile] = before.files if before is not None else {}
    files = {key: old[key] for key in old.keys() - part.superseded(old)}
    missing = []
    for key, path in part.files.items():
        if copying.is_settled(key, old):
            files[key] = old[key]
            continue
        digest = disk.sha256(path)
        if problem := copying.content_problem(key, path, digest, part.files.__getitem__):
            raise DamagedError(f"{path} is damaged: {problem}. Nothing was committed. Run: ⦃embstore verify⦄")
        files[key] = manifest.RemoteFile(key, disk.size(path), digest)
        if old.get(key) != files[key]:
            missing.append(key)
    return files, missing


def _is_own(objects: ObjectReader | None) -> bool:
    """Return whether the README of a repository is missing, or one that embstore wrote."""
    try:
        return objects is None or MARK.encode() in objects.get(_README)
    except MissingObjectError:
        return True


def dataset_card(
    cards: Mapping[str, Card], files: Iterable[str], url: str, counts: Mapping[str, int],
    columns: Mapping[str, tuple[str, int | None]],
) -> str:  # fmt: skip
    """Return the content of the README, in Markdown with a header in YAML."""
    folders = {key.rpartition("/")[0] for key in files}
    tables = [name for name in ("items", "skipped") if name in folders]
    datasets = sorted(Path(key).stem for key in files if names.kind_of(key) is names.DATASETS)
    shown = [cards[space] for space in sorted(cards) if f"embeddings/space={space}" in folders]
    spaces = [
        (card.space, card.checkpoint, card.unit.value, card.pooling.value, card.template.pattern,
         ", ".join(card.layers.names), card.dim, card.dtype, f"{counts.get(card.space, 0):,}")
        for card in shown
    ]  # fmt: skip
    address = url.removeprefix("hf://datasets/").partition("@")[0]
    of_known = {name: spec.licence for name, spec in DATASETS.items()}
    licences = [f"* `{_cell(name)}`: licence {of_known.get(name) or 'not known to embstore'}" for name in datasets]
    counted = [(name, kind, "–" if n is None else f"{n:,}") for name, (kind, n) in columns.items()]
    parts = [
        _header([card.space for card in shown], tables, datasets), MARK, f"# Embeddings: {address}",
        "A store of [embstore](https://github.com/embstore/embstore): vectors of every layer of language models, in "
        "Parquet, with FAISS indexes.",
        "## Spaces",
        _table(("space", "checkpoint", "unit", "pooling", "template", "layers", "dim", "dtype", "items"), spaces),
        "The layers are numbered as Hugging Face's `hidden_states` are: 0 is the embedding output. Each space has a "
        "card with its whole provenance in `spaces/`.",
        "## Checkpoints", _checkpoints(shown),
        "Vectors are derived from the weights of a checkpoint: its licence applies to them. See the page of each.",
        *(["## Columns of the items", _table(("column", "type", "items with a value"), counted)] if columns else []),
        *(["## Datasets", "\n".join(licences)] if datasets else []),
        "## Use", _use(url, shown[0].space if shown else "", address),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _header(spaces: Iterable[str], tables: Iterable[str], datasets: Iterable[str]) -> str:
    """Return the YAML header, whose configurations tell ``datasets.load_dataset`` where each table is."""
    files = {space: f"embeddings/space={space}/*.parquet" for space in spaces}
    files |= {table: f"{table}/*.parquet" for table in tables}
    files |= {f"dataset.{name}": f"datasets/{name}.parquet" for name in datasets}
    lines = ["---", "pretty_name: Embeddings of every layer", "tags:", "- embeddings", "- embstore", "configs:"]
    for name, pattern in files.items():
        lines += [f"- config_name: {json.dumps(name)}", f"  data_files: {json.dumps(pattern)}"]
    return "\n".join([*lines, "---"])


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(map(_cell, cells)) + " |" for cells in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def _checkpoints(cards: Iterable[Card]) -> str:
    lines = {}
    for card in cards:
        at = f"revision `{card.revision}`" if card.revision else "a local folder"
        lines[card.fingerprint] = (
            f"* `{_cell(card.checkpoint)}`, {at}: SHA-256 of the weights `{card.weights_sha256}`, of the tokenizer "
            f"`{card.tokenizer_sha256}`, of the configuration `{card.config_sha256}`."
        )
    return "\n".join(lines.values())


def _use(url: str, space: str, address: str) -> str:
    return f"""```bash
pip install "embstore[remote]"
embstore query anisotropy --store {url}      # in place: only what the answer needs is fetched
embstore pull {url} --store ./store          # all of it
```

```python
from datasets import load_dataset

vectors = load_dataset("{address}", "{space}", split="train")  # columns: layer, item_id, vector
texts = load_dataset("{address}", "items", split="train")
```"""


def _cell(value: object) -> str:
    """Return a value of a card as text that means nothing in Markdown."""
    text = str(value).replace("\n", " ").replace("`", "'")
    return "".join(f"\\{char}" if char in "|<>[]*_\\" else char for char in text)
