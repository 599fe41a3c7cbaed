"""Push a store into a dataset repository on the Hugging Face hub: one commit, with a page that
describes it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from embstore.base.errors import MissingObjectError
from embstore.base.messages import count
from embstore.base.progress import Progress, report_progress
from embstore.base.table import Table
from embstore.exchange.copies import Plan, Selection, stored_catalog
from embstore.maintain.upkeep import tabulate
from embstore.sources.datasets import DATASETS
from embstore.storage import keys, manifest
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card
from embstore.storage.copy import explaining_changes, open_source
from embstore.storage.manifest import Change, Manifest
from embstore.storage.web import Hub

_BATCH = 64
_README = "README.md"
_SPACE_COLUMNS = (
    "space",
    "checkpoint",
    "unit",
    "pooling",
    "template",
    "layers",
    "dim",
    "dtype",
    "items",
)
MARK = "<!-- Written by embstore push, which replaces this file as long as this line is in it. -->"


def push_to_hub(
    place: StoreFiles, url: str, selection: Selection, *, dry_run: bool = False
) -> Table:
    """Copy a store, or some of its spaces, into a dataset repository, which is created, private, if
    there is none.
    """
    source, hub = open_source(place), Hub(url)
    exists = hub.dataset.head() is not None
    if not exists and not dry_run:
        hub.dataset.create()
        exists = True
    with TemporaryDirectory(prefix="embstore-") as folder, explaining_changes(source):
        stored = stored_catalog(StoreFiles(hub)) if exists else None
        plan = Plan(source, stored, selection, StoreFiles.of_folder(Path(folder)), "push")
        base = stored.manifest if stored is not None else manifest.EMPTY
        new = manifest.apply(
            base, Change({file.key: file.entry for file in plan.files}, plan.removed)
        )
        table = tabulate(plan.report(), dry_run=dry_run)
        if dry_run or new is base:
            return table
        added, n_files = [], len(plan.files)
        for start in range(0, n_files, _BATCH):
            report_progress(Progress("push", url, start, n_files))
            batch = plan.files[start : start + _BATCH]
            for file in batch:
                file.check()
            added += hub.dataset.upload({file.key: file.path for file in batch})
        last: dict[str, Path | bytes] = {keys.PUBLISHED: manifest.to_bytes(new)}
        if _is_own(hub):
            cards = {} if stored is None else dict(stored.cards)
            cards |= {card.space: card for card in plan.cards}
            last[_README] = dataset_card(cards, new, url).encode()
        message = (
            f"embstore push: {count(n_files, 'file')}"
            if n_files
            else "embstore push: remove what was replaced"
        )
        gone = sorted(base.files.keys() - new.files.keys())
        hub.dataset.commit(added, last, gone, hub.commit, message)
        report_progress(Progress("push", url, n_files, n_files))
    return table


def _is_own(hub: Hub) -> bool:
    """Return whether the README of a repository is missing, or one that embstore wrote."""
    try:
        return MARK.encode() in hub.get(_README)
    except MissingObjectError:
        return True


def dataset_card(cards: Mapping[str, Card], named: Manifest, url: str) -> str:
    """Return the content of the README, in Markdown with a header in YAML."""
    datasets = named.names_of(keys.DATASETS)
    shown = [cards[space] for space in sorted(cards) if named.layers_of(keys.VECTORS, space)]
    spaces = [
        (
            card.space,
            card.checkpoint,
            card.unit.value,
            card.pooling.value,
            card.template.pattern,
            ", ".join(card.layers.names),
            card.dim,
            card.dtype,
            f"{named.items_of(card.space, card.layers.ids[0]).n:,}",
        )
        for card in shown
    ]
    address = url.removeprefix("hf://datasets/").partition("@")[0]
    of_known = {name: spec.licence for name, spec in DATASETS.items()}
    licences = [
        f"* `{_cell(name)}`: licence {of_known.get(name) or 'not known to embstore'}"
        for name in datasets
    ]
    columns = {
        column
        for key in named.keys_of(keys.COLUMNS)
        for column in named.files[key]["columns"].items()
    }
    parts = [
        _header(shown, named),
        MARK,
        f"# Embeddings: {address}",
        "A store of [embstore](https://github.com/embstore/embstore): vectors of every layer of"
        " language models, in Parquet, with FAISS indexes.",
        "## Spaces",
        _table(_SPACE_COLUMNS, spaces),
        "The layers are numbered as Hugging Face's `hidden_states` are: 0 is the embedding output."
        " Each space has a card with its whole provenance in `spaces/`.",
        "## Checkpoints",
        _checkpoints(shown),
        "Vectors are derived from the weights of a checkpoint: its licence applies to them. See the"
        " page of each.",
    ]
    if columns:
        parts += ["## Columns of the items", _table(("column", "type"), sorted(columns))]
    if datasets:
        parts += ["## Datasets", "\n".join(licences)]
    parts += ["## Use", _use(url, shown[0] if shown else None, address)]
    return "\n\n".join(parts) + "\n"


def _header(cards: Iterable[Card], named: Manifest) -> str:
    """Return the YAML header, whose configurations tell ``datasets.load_dataset`` where each table
    is.

    The layers of a space are splits of its configuration.
    """
    lines = [
        "---",
        "pretty_name: Embeddings of every layer",
        "tags:",
        "- embeddings",
        "- embstore",
        "configs:",
    ]
    for card in cards:
        lines += [f"- config_name: {json.dumps(card.space)}", "  data_files:"]
        for layer in card.layers.ids:
            pattern = f"{keys.folder_of(keys.VECTORS, card.space)}/layer={layer:02d}/*.parquet"
            lines += [f"  - split: layer_{layer:02d}", f"    path: {json.dumps(pattern)}"]
    files = {kind.folder: f"{kind.folder}/*.parquet" for kind in keys.TABLES if named.keys_of(kind)}
    files |= {
        f"dataset.{name}": named.keys_of(keys.DATASETS, name)[0]
        for name in named.names_of(keys.DATASETS)
    }
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
        origin = f"revision `{card.revision}`" if card.revision else "a local folder"
        lines[card.fingerprint] = (
            f"* `{_cell(card.checkpoint)}`, {origin}: SHA-256 of the weights"
            f" `{card.weights_sha256}`, of the tokenizer `{card.tokenizer_sha256}`, of the"
            f" configuration `{card.config_sha256}`."
        )
    return "\n".join(lines.values())


def _use(url: str, card: Card | None, address: str) -> str:
    space, layer = (card.space, card.layers.ids[-1]) if card is not None else ("", 0)
    return f"""```bash
pip install "embstore[remote]"
embstore query anisotropy --store {url}      # in place: only the files that the answer needs are fetched
embstore pull {url} --store ./store          # all of it
```

```python
from datasets import load_dataset

vectors = load_dataset("{address}", "{space}", split="layer_{layer:02d}")  # columns: item_id, vector
texts = load_dataset("{address}", "items", split="train")
```"""  # noqa: E501


def _cell(value: object) -> str:
    """Return a value of a card as text that means nothing in Markdown."""
    text = str(value).replace("\n", " ").replace("`", "'")
    return "".join(f"\\{char}" if char in "|<>[]*_\\" else char for char in text)
