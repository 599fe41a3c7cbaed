"""A user's own datasets: tables in the folder of the datasets, each with a JSON document that says how to read it."""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embstore import documents
from embstore.errors import SourceError, UnknownNameError, UsageError
from embstore.sources.cache import data_folder, keep
from embstore.sources.delimiters import parse_delimiter
from embstore.sources.files import PACKED, file_type, is_file, open_unpacked, read_binary
from embstore.sources.records import DELIMITED, OPTION, RECORDS, read_records
from embstore.sources.rows import Row
from embstore.sources.specs import LEXICON, SENTENCE_PAIRS, WORD_PAIRS, DataFile, DatasetSpec
from embstore.sources.values import number_value, text_value
from embstore.space import Unit, parse_member

KINDS = ("pairs", "lexicon")

_FOLDER = "own"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_N_COLUMNS = {
    "pairs": f"three columns: the two texts and the score. Name them: {OPTION} a,b,score",
    "lexicon": f"two columns: the text and its value. Name them: {OPTION} text,value",
}


@dataclass(frozen=True, slots=True)
class Table:
    """How a user's table becomes rows.

    Attributes:
        columns: Those of the texts, then that of the number.
        suffix: The file type.
        name: Name of the file in messages.
        delimiter: Character that separates the columns of CSV and TSV; None to find it.
    """

    columns: tuple[str, ...]
    suffix: str
    name: str
    delimiter: str | None = None

    @property
    def value(self) -> str:
        """The name of the number in the store, where the table's own could be that of another column."""
        return "score" if len(self.columns) == 3 else "value"

    def read(self, path: Path) -> Iterator[Row]:
        """Yield the rows of the table.

        Raises:
            SourceError: If a text is missing, or something else stands where a number should be; says the line.
        """
        *texts, number = self.columns
        for place, values in read_records(path, self.name, self.suffix, self.columns, self.delimiter):
            found = [text_value(value, f"{place} ({key})") for key, value in zip(texts, values, strict=False)]
            of_row = {self.value: number_value(values[-1], f"{place} ({number})")}
            yield Row(found[0], place, of_row, *found[1:])


def own_datasets() -> dict[str, DatasetSpec]:
    """Return the user's own datasets, by name.

    Raises:
        SourceError: If the document of one of them is damaged.
    """
    return {path.stem: _read_spec(path) for path in sorted((data_folder() / _FOLDER).glob("*.json"))}


def own_dataset(name: str) -> DatasetSpec | None:
    """Return one of the user's own datasets; None if there is none of that name.

    Raises:
        SourceError: If its document is damaged.
    """
    path = data_folder() / _FOLDER / f"{name}.json"
    return _read_spec(path) if _NAME.fullmatch(name) and is_file(path) else None


def add_own(
    name: str,
    file: Path,
    kind: str,
    columns: Sequence[str],
    unit: str,
    taken: Sequence[str],
    delimiter: str | None = None,
) -> DatasetSpec:
    """Read a user's table to the end, and keep a copy of it as a dataset; one of that name is replaced.

    Args:
        name: Name of the dataset.
        file: .csv, .tsv, .jsonl or .parquet.
        kind: ``pairs`` or ``lexicon``.
        columns: Columns: text, text and score of pairs, or text and value of a lexicon.
        unit: ``word`` or ``sentence``.
        taken: Names that it cannot have.
        delimiter: Character that separates the columns of CSV and TSV, or ``tab``; None to find it.

    Raises:
        UsageError, UnknownNameError: an argument does not fit.
        SourceError: If the table cannot be read; says file and line.
    """
    _check_name(name, taken)
    if kind not in KINDS:
        raise UnknownNameError("kind of dataset", kind, KINDS)
    if len(columns) != (3 if kind == "pairs" else 2):
        raise UsageError(f"a dataset of the kind {kind!r} has {_N_COLUMNS[kind]}")
    of = parse_member(Unit, unit)
    if of is Unit.OCCURRENCE:
        raise UsageError("a dataset is of words or of sentences: --unit word or --unit sentence.")
    suffix = file_type(file)
    if suffix == ".parquet" and file.suffix.lower() == PACKED:
        raise SourceError(f"{file}: Parquet is packed by itself. Unpack it first: gunzip {file}")
    if suffix not in RECORDS:
        raise UnknownNameError("file type", file.suffix or file.name, RECORDS, "Write the table as one of these.")
    chosen = parse_delimiter(delimiter)
    if chosen and suffix not in DELIMITED:
        raise UsageError(f"--delimiter does not fit {file}: it is for {' and '.join(DELIMITED)}. Leave it out.")
    table = Table(tuple(columns), suffix, str(file), chosen)
    content = _content(file)
    sha256 = hashlib.sha256(content).hexdigest()
    values = [float(row.values[table.value]) for row in table.read(file)]
    if not values:
        raise SourceError(f"{file} has no rows. Give a table with at least one.")
    document = {
        "name": name, "kind": kind, "unit": of.value, "columns": list(columns), "file": f"{name}{suffix}",
        "original": file.name, "sha256": sha256, "rows": len(values), "scores": [min(values), max(values)],
    } | ({"delimiter": chosen} if chosen else {})  # fmt: skip
    folder = data_folder() / _FOLDER
    keep(folder / f"{name}{suffix}", content)
    keep(folder / f"{name}.json", (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return _read_spec(folder / f"{name}.json")


def _content(file: Path) -> bytes:
    """Return the bytes of a table, unpacked."""
    with open_unpacked(file, str(file)) as stream:
        try:
            return stream.read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(f"{file} is not packed by gzip, or is damaged: {error}. Copy it again.") from error


def _check_name(name: str, taken: Sequence[str]) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a dataset: it takes up to 64 letters, digits, - and _, the first a letter "
            "or digit."
        )
    if name.lower() in taken or re.fullmatch(r"words_\d+", name.lower()):
        raise UsageError(f"{name!r} is the name of another dataset. Choose another for your own table.")


def _read_spec(path: Path) -> DatasetSpec:
    try:
        document = documents.parse(read_binary(path), "own-dataset")
        documents.check(document, "own-dataset")
        return _spec_of(path.stem, document)
    except ValueError as error:
        raise SourceError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Delete it, and add the dataset again: "
            f"embstore datasets add {path.stem} FILE …"
        ) from error


def _spec_of(name: str, document: dict[str, Any]) -> DatasetSpec:
    suffix = Path(document["file"]).suffix
    if document["name"] != name or document["file"] != f"{name}{suffix}" or suffix not in RECORDS:
        raise ValueError("it is the document of another dataset")
    unit = Unit(document["unit"])
    table = Table(tuple(document["columns"]), suffix, document["original"], document.get("delimiter"))
    pairs = SENTENCE_PAIRS if unit is Unit.SENTENCE else WORD_PAIRS
    low, high = document["scores"]
    return DatasetSpec(
        document["name"],
        pairs if document["kind"] == "pairs" else LEXICON,
        unit,
        document["rows"],
        {table.value: float},
        DataFile(f"{_FOLDER}/{document['file']}", document["sha256"], partial(Table.read, table)),
        help=f"Your own table, {document['original']}.",
        scores=(low, high),
    )
