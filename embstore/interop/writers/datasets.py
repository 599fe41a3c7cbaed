"""Write a folder that the library datasets loads: Parquet, and a README that is its card."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.interop.provenance import write_card_file
from embstore.interop.selection import Selected
from embstore.interop.writers.parquet import write_parquet_wide

_DATA = "data/train-00000-of-00001.parquet"


def write_datasets(folder: Path, selected: Selected, provenance: dict[str, Any], report: Callable[[int], None]) -> None:
    """Write a row for each item, with a column of vectors for each layer, README.md and card.json."""
    disk.make_folder(folder / "data")
    write_parquet_wide(folder / _DATA, selected, provenance, report)
    disk.write(folder / "README.md", _readme(selected, provenance).encode())
    write_card_file(folder, provenance)


def _readme(selected: Selected, provenance: dict[str, Any]) -> str:
    """Return the dataset card: its metadata as YAML, and what the vectors are."""
    card = selected.card
    layers = ", ".join(f"`layer_{layer.name}`" for layer in selected.layers)
    chosen = {name: provenance[name] for name in ("where", "transform") if name in provenance}
    rows = {
        "Space": card.space, "Made by": card.checkpoint_at_revision, "Unit": card.unit.value,
        "Pooling": card.pooling.value, "Template": card.template.pattern, "Items": f"{selected.n:,}",
        "Dimension": str(selected.dim), "Type": selected.dtype.name,
        **{name.title(): text for name, text in chosen.items()},
    }  # fmt: skip
    table = "\n".join(f"| {name} | {_code(value)} |" for name, value in rows.items())
    return f"""---
pretty_name: {json.dumps(f"Vectors of {card.space}")}
tags: [embeddings, embstore]
configs:
  - config_name: default
    data_files: {_DATA}
---

# Vectors of {card.space}

A row for each {card.unit.value}, with a column for each layer: {layers}.

| | |
|---|---|
{table}

Written by [embstore](https://github.com/embstore/embstore) {provenance["embstore"]}; `card.json` has the whole card.

```python
from datasets import load_dataset

rows = load_dataset("path/to/this/folder", split="train")
```
"""


def _code(value: str) -> str:
    """Return a value as code in a table, whatever its characters."""
    return "`" + value.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
