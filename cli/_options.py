"""Options that several commands have, declared once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

SPACES = "Which spaces"
ROWS = "Which items"
OUTPUT = "Output"


class Format(StrEnum):
    """How a table is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    PARQUET = "parquet"


StoreDir = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="The store's folder.  [default: $EMBSTORE_STORE, else ./store]"),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="Keep the spaces of this checkpoint (repeatable).", metavar="NAME"),
]
Spaces = Annotated[list[str] | None, typer.Option("--space", help="Keep this space (repeatable).", metavar="NAME")]
UnitName = Annotated[str | None, typer.Option("--unit", help="Keep spaces of words, sentences or occurrences.")]
PoolingName = Annotated[str | None, typer.Option("--pooling", help="Keep spaces of this pooling.")]
TemplateText = Annotated[str | None, typer.Option("--template", help="Keep spaces of this template.")]
OutputFormat = Annotated[Format, typer.Option("--format", help="How the result is written.")]
OutputFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the result there, not to standard output."),
]
