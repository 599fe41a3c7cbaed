"""Copy a store into a dataset repository on the Hugging Face hub: all files first, the manifest in the last commit."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from embstore.base import disk, supply
from embstore.base.errors import DamagedError, MissingObjectError, StoreError
from embstore.base.progress import Observer, Progress
from embstore.base.table import Table
from embstore.exchange.push_and_pull import Part, Selection, make_part, report
from embstore.sources import DATASETS
from embstore.storage.catalog import Catalog
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.copying import content_problem, is_settled, open_source
from embstore.storage.remote import cache
from embstore.storage.remote.hub import HubDataset
from embstore.storage.remote.manifest import PUBLISHED_NAME, RemoteFile, RemoteState, published_bytes, read_published
from embstore.storage.remote.mirror import Mirror
from embstore.storage.remote.objects import ObjectReader

_BATCH = 64
_README = "README.md"
MARK = "<!-- Written by embstore push, which replaces this file as long as this line is in it. -->"
_OF_TABLES = {"items": "texts", "skipped": "skipped texts"}


def push_to_hub(root: Path, url: str, selection: Selection, observe: Observer, *, dry_run: bool = False) -> Table:
    """Copy a store, or some of its spaces, into a dataset repository, which is created, private, if there is none."""
    hub, source = HubDataset(url), open_source(disk.resolved(root))
    if (parent := hub.head()) is None and not dry_run:
        hub.create()
        parent = hub.head()
    objects = hub.objects(parent) if parent is not None else None
    before = read_published(objects) if objects is not None else None
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
            observe(Progress("push", url, start, len(missing), start / len(missing)))
            batch = {key: part.files[key] for key in missing[start : start + _BATCH]}
            for path in batch.values():
                in_use.enter_context(supply.fetched(path))
            added += hub.upload(batch)
        last: dict[str, Path | bytes] = {PUBLISHED_NAME: published_bytes(files, before)}
        if _is_own(objects):
            last[_README] = dataset_card(cards, files, url, counts, columns).encode()
        message = f"embstore push: {len(missing)} files" if missing else "embstore push: remove what was replaced"
        hub.commit(added, last, gone, parent, message)
        observe(Progress("push", url, len(missing), len(missing), 1.0))
    return table


def _columns(source: Catalog, part: Part, stored: Catalog | None) -> dict[str, tuple[str, int | None]]:
    """Return the type of each column of items that travels or that the place has, and its number of values if known."""
    counts: dict[str, int | None] = {**source.columns.counts()} if part.is_whole else {}
    travels = any(names.kind_of(key) is names.COLUMNS for key in part.files)
    types = {**({} if stored is None else stored.columns.types), **(source.columns.types if travels else {})}
    return {name: (kind, counts.get(name)) for name, kind in types.items()}


@contextmanager
def _mirrored(url: str, objects: ObjectReader | None, state: RemoteState | None) -> Iterator[Catalog | None]:
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


def _compared(part: Part, before: RemoteState | None) -> tuple[dict[str, RemoteFile], list[str]]:
    """Return the files that the repository is to have, and the paths of those that it does not have."""
    old: Mapping[str, RemoteFile] = before.files if before is not None else {}
    files = {key: old[key] for key in old.keys() - part.superseded(old)}
    missing = []
    for key, path in part.files.items():
        if is_settled(key, old):
            files[key] = old[key]
            continue
        digest = disk.sha256(path)
        if problem := content_problem(key, path, digest, part.files.__getitem__):
            raise DamagedError(f"{path} is damaged: {problem}. Nothing was committed. Run: embstore verify")
        files[key] = RemoteFile(key, disk.size(path), digest)
        if old.get(key) != files[key]:
            missing.append(key)
    return files, missing


def _is_own(objects: ObjectReader | None) -> bool:
    """Return whether the README of a repository is missing, or one that embstore wrote."""
    if objects is None:
        return True
    try:
        return MARK.encode() in objects.get(_README)
    except MissingObjectError:
        return True


def dataset_card(
    cards: Mapping[str, Card],
    files: Iterable[str],
    url: str,
    counts: Mapping[str, int],
    columns: Mapping[str, tuple[str, int | None]],
) -> str:
    """Return the content of the README, in Markdown with a header in YAML."""
    folders = {key.rpartition("/")[0] for key in files}
    tables = [name for name in _OF_TABLES if name in folders]
    datasets = sorted(Path(key).stem for key in files if names.kind_of(key) is names.DATASETS)
    shown = [space for space in sorted(cards) if f"embeddings/space={space}" in folders]
    address = url.removeprefix("hf://datasets/").partition("@")[0]
    parts = [
        _header(shown, tables, datasets), MARK, f"# Embeddings: {address}",
        "A store of [embstore](https://github.com/embstore/embstore): vectors of every layer of language models, in "
        "Parquet, with FAISS indexes.",
        "## Spaces", _spaces([cards[space] for space in shown], counts),
        "The layers are numbered as Hugging Face's `hidden_states` are: 0 is the embedding output. Each space has a "
        "card with its whole provenance in `spaces/`.",
        "## Checkpoints", _checkpoints([cards[space] for space in shown]),
        "Vectors are derived from the weights of a checkpoint: its licence applies to them. See the page of each.",
        *(["## Columns of the items", _column_table(columns)] if columns else []),
        *(["## Datasets", _datasets(datasets)] if datasets else []),
        "## Use", _use(url, shown[0] if shown else "", address),
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


def _spaces(cards: Iterable[Card], counts: Mapping[str, int]) -> str:
    rows = ["| space | checkpoint | unit | pooling | template | layers | dim | dtype | items |", "|" + "---|" * 9]
    for card in cards:
        cells = [
            card.space, card.checkpoint, card.unit.value, card.pooling.value, card.template.pattern,
            ", ".join(card.layers.names), card.dim, card.dtype, f"{counts.get(card.space, 0):,}",
        ]  # fmt: skip
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(rows)


def _checkpoints(cards: Iterable[Card]) -> str:
    lines = {}
    for card in cards:
        at = f"revision `{card.revision}`" if card.revision else "a local folder"
        lines[card.fingerprint] = (
            f"* `{_cell(card.checkpoint)}`, {at}: SHA-256 of the weights `{card.weights_sha256}`, of the tokenizer "
            f"`{card.tokenizer_sha256}`, of the configuration `{card.config_sha256}`."
        )
    return "\n".join(lines.values())


def _column_table(columns: Mapping[str, tuple[str, int | None]]) -> str:
    counted = {name: (kind, "–" if n is None else f"{n:,}") for name, (kind, n) in columns.items()}
    rows = [f"| {_cell(name)} | {kind} | {n} |" for name, (kind, n) in counted.items()]
    return "\n".join(["| column | type | items with a value |", "|---|---|---|", *rows])


def _datasets(names: Iterable[str]) -> str:
    licences = {
        name: (spec.licence if (spec := DATASETS.get(name)) else "") or "not known to embstore" for name in names
    }
    return "\n".join(f"* `{_cell(name)}`: licence {licence}" for name, licence in licences.items())


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
