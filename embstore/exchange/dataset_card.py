"""Write the README of a store that is published as a dataset: what it has, from which checkpoints, how to use it."""

import json
from collections.abc import Iterable, Mapping

from embstore.sources import DATASETS
from embstore.storage.files.card import Card

MARK = "<!-- Written by embstore push, which replaces this file as long as this line is in it. -->"
_OF_TABLES = {"items": "texts", "skipped": "skipped texts"}


def dataset_card(
    cards: Mapping[str, Card],
    files: Iterable[str],
    url: str,
    counts: Mapping[str, int],
    columns: Mapping[str, tuple[str, int | None]],
) -> str:
    """Return the content of the README, in Markdown with a header in YAML.

    Args:
        cards: Cards of the spaces, by name.
        files: Files of the store, by their paths.
        url: URL of the repository.
        counts: Number of items of each space.
        columns: Type, and number of items with a value, of each stored column of items; None if not counted.
    """
    folders = {key.rpartition("/")[0] for key in files}
    tables = [name for name in _OF_TABLES if name in folders]
    datasets = sorted(key.removeprefix("datasets/").removesuffix(".parquet") for key in files if "datasets/" in key[:9])
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
        *(["## Columns of the items", _columns(columns)] if columns else []),
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


def _columns(columns: Mapping[str, tuple[str, int | None]]) -> str:
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
