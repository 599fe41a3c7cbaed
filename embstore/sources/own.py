"""Add and read a user's own datasets: tables in the folder of datasets, each described by a JSON document."""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from embstore.base import documents
from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit, parse_member
from embstore.sources.analogies import SUFFIX, load_analogies, read_analogies
from embstore.sources.cache import data_folder, write_file
from embstore.sources.delimiters import parse_delimiter
from embstore.sources.files import GZIP_SUFFIX, file_type, is_file, open_decompressed, read_binary
from embstore.sources.records import DELIMITED, OPTION, RECORDS, read_records
from embstore.sources.rows import Row
from embstore.sources.specs import (
    ANALOGIES,
    LEXICON,
    OCCURRENCE_PAIRS,
    SENTENCE_PAIRS,
    WORD_PAIRS,
    DataFile,
    DatasetSpec,
)
from embstore.sources.targets import Targets, remove_brackets
from embstore.sources.values import label_value, number_value, text_value

KINDS = ("pairs", "lexicon", ANALOGIES)

_FOLDER = "own"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_N_COLUMNS = {
    "pairs": f"three columns: the two texts and the score. Name them: {OPTION} a,b,score",
    "occurrence pairs": "seven columns, text, start and end of each target and the score; or three, two texts with "
    f"their targets in brackets and the score. Name them: {OPTION} text1,start1,end1,text2,start2,end2,score",
    "lexicon": f"two columns: the text and its value. Name them: {OPTION} text,value",
}
_WIDTHS = {"pairs": (3,), "occurrence pairs": (3, 7), "lexicon": (2,)}
_PAIRS = {Unit.WORD: WORD_PAIRS, Unit.SENTENCE: SENTENCE_PAIRS, Unit.OCCURRENCE: OCCURRENCE_PAIRS}


@dataclass(frozen=True, slots=True)
class OwnTable:
    """The layout of a user's table.

    Attributes:
        columns: Columns of the texts, one or two, each with those of its span if it has one; then the column of the
            score or value.
        suffix: File type: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        name: Name of the file in messages.
        delimiter: Character that separates the columns of CSV and TSV files; None to detect it.
        unit: Unit of its texts. Pairs of occurrences without columns of spans have their targets in brackets.
    """

    columns: tuple[str, ...]
    suffix: str
    name: str
    delimiter: str | None = None
    unit: Unit = Unit.WORD

    @property
    def value(self) -> str:
        """Name of the number's column in the store; the table's own name could be that of another column there."""
        return "value" if len(self.columns) == 2 else "score"

    def read(self, path: Path) -> Iterator[Row]:
        """Yield the rows of the table.

        Raises:
            SourceError: A text is missing, a score or value is not a number, or a target is not in its text.
        """
        if self.unit is Unit.OCCURRENCE:
            yield from self._occurrences(path)
            return
        *texts, number = self.columns
        for place, values in read_records(path, self.name, self.suffix, self.columns, self.delimiter):
            row_texts = [text_value(value, f"{place} ({key})") for key, value in zip(texts, values, strict=False)]
            row_values = {self.value: number_value(values[-1], f"{place} ({number})")}
            yield Row(row_texts[0], place, row_values, row_texts[1] if len(row_texts) == 2 else None)

    def _occurrences(self, path: Path) -> Iterator[Row]:
        """Yield the rows of a table of pairs of occurrences."""
        width = len(self.columns) // 2
        for place, values in read_records(path, self.name, self.suffix, self.columns, self.delimiter):
            sides = []
            for first in (0, width):
                names, cells = self.columns[first : first + width], values[first : first + width]
                row = Row(text_value(cells[0], f"{place} ({names[0]})"), f"{place} ({names[0]})")
                if width == 1:
                    row = remove_brackets(row)
                else:
                    row = replace(row, spans=(Targets(span=names[1:]).find(row.text, cells[1:], row.origin),))
                sides.append(row)
            score = label_value(values[-1], f"{place} ({self.columns[-1]})")
            left, right = sides
            yield Row(left.text, place, {self.value: score}, right.text, spans=(*left.spans, *right.spans))


def own_datasets() -> dict[str, DatasetSpec]:
    """Return name → dataset of the user's own datasets.

    Raises:
        SourceError: The document of a dataset is damaged.
    """
    return {path.stem: _read_spec(path) for path in sorted((data_folder() / _FOLDER).glob("*.json"))}


def own_dataset(name: str) -> DatasetSpec | None:
    """Return one of the user's own datasets; None if there is none of that name.

    Raises:
        SourceError: Its document is damaged.
    """
    path = data_folder() / _FOLDER / f"{name}.json"
    return _read_spec(path) if _NAME.fullmatch(name) and is_file(path) else None


def add_own(
    name: str,
    file: Path,
    kind: str,
    columns: Sequence[str],
    unit: str,
    other_names: Sequence[str],
    delimiter: str | None = None,
) -> DatasetSpec:
    """Check a user's table, and copy it to the folder of datasets; replace one of the same name.

    Args:
        name: Name of the dataset.
        file: Table: .csv, .tsv, .jsonl or .parquet; of analogies a .txt file or a folder.
        kind: ``pairs``, ``lexicon`` or ``analogies``.
        columns: Columns: text, text and score of pairs, or text and value of a lexicon; of pairs of occurrences also
            start and end after each text, unless their targets are in brackets.
        unit: ``word`` or ``sentence``; of pairs also ``occurrence``.
        other_names: Names of other datasets.
        delimiter: Character that separates the columns of CSV and TSV files, or ``tab``; None to detect it.

    Raises:
        UsageError, UnknownNameError: An argument is invalid.
        SourceError: The table cannot be read, or has invalid values.
    """
    _check_name(name, other_names)
    if kind not in KINDS:
        raise UnknownNameError("kind of dataset", kind, KINDS)
    parsed_unit = parse_member(Unit, unit)
    if kind == ANALOGIES:
        return _add_analogies(name, file, parsed_unit, [*columns, *([delimiter] if delimiter else [])])
    of_occurrences = parsed_unit is Unit.OCCURRENCE
    if of_occurrences and kind != "pairs":
        raise UsageError(f"a {kind} is of words or of sentences: ⦃unit=word⦄ or ⦃unit=sentence⦄.")
    shape = OCCURRENCE_PAIRS if of_occurrences else kind
    if len(columns) not in _WIDTHS[shape]:
        raise UsageError(f"a dataset of the kind {shape!r} has {_N_COLUMNS[shape]}")
    suffix = file_type(file)
    if suffix == ".parquet" and file.suffix.lower() == GZIP_SUFFIX:
        raise SourceError(f"{file}: Parquet is packed by itself. Unpack it first: gunzip {file}")
    if suffix not in RECORDS:
        raise UnknownNameError("file type", file.suffix or file.name, RECORDS, "Write the table as one of these.")
    delimiter = parse_delimiter(delimiter)
    if delimiter and suffix not in DELIMITED:
        raise UsageError(f"⦃delimiter⦄ does not fit {file}: it is for {' and '.join(DELIMITED)}. Leave it out.")
    table = OwnTable(tuple(columns), suffix, str(file), delimiter, parsed_unit)
    content = _read(file)
    sha256 = hashlib.sha256(content).hexdigest()
    values = [float(row.values[table.value]) for row in table.read(file)]
    if not values:
        raise SourceError(f"{file} has no rows. Give a table with at least one.")
    document = {
        "name": name, "kind": kind, "unit": parsed_unit.value, "columns": list(columns), "file": f"{name}{suffix}",
        "original": file.name, "sha256": sha256, "rows": len(values), "scores": [min(values), max(values)],
    } | ({"delimiter": delimiter} if delimiter else {})  # fmt: skip
    folder = data_folder() / _FOLDER
    write_file(folder / f"{name}{suffix}", content)
    write_file(folder / f"{name}.json", (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return _read_spec(folder / f"{name}.json")


def _add_analogies(name: str, file: Path, unit: Unit, table_options: Sequence[str]) -> DatasetSpec:
    """Check a file or folder of analogies, and copy it to the folder of datasets; see :func:`add_own`."""
    if table_options:
        raise UsageError(f"{OPTION} and ⦃delimiter⦄ are for tables, and analogies are lines of words. Leave them out.")
    if unit is not Unit.WORD:
        raise UsageError("analogies are of words: ⦃unit=word⦄.")
    content, n_rows = load_analogies(file)
    document = {
        "name": name, "kind": ANALOGIES, "unit": unit.value, "columns": [], "file": f"{name}{SUFFIX}",
        "original": file.name or str(file), "sha256": hashlib.sha256(content).hexdigest(), "rows": n_rows,
    }  # fmt: skip
    folder = data_folder() / _FOLDER
    write_file(folder / f"{name}{SUFFIX}", content)
    write_file(folder / f"{name}.json", (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return _read_spec(folder / f"{name}.json")


def _read(file: Path) -> bytes:
    """Return the bytes of a table, decompressed."""
    with open_decompressed(file, str(file)) as stream:
        try:
            return stream.read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(f"{file} is not packed by gzip, or is damaged: {error}. Copy it again.") from error


def _check_name(name: str, other_names: Sequence[str]) -> None:
    """Raise UsageError if a name is invalid for a dataset, or taken."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a dataset: it takes up to 64 letters, digits, - and _, the first a letter "
            "or digit."
        )
    if name.lower() in other_names or re.fullmatch(r"words_\d+", name.lower()):
        raise UsageError(f"{name!r} is the name of another dataset. Choose another for your own table.")


def _read_spec(path: Path) -> DatasetSpec:
    """Read the document of a user's dataset; raise SourceError if it is damaged."""
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
    """Return the description of a user's dataset, from its document; raise ValueError if that is inconsistent."""
    suffix, is_table = Path(document["file"]).suffix, document["kind"] != ANALOGIES
    known = RECORDS if is_table else (SUFFIX,)
    if document["name"] != name or document["file"] != f"{name}{suffix}" or suffix not in known:
        raise ValueError("it is the document of another dataset")
    unit = Unit(document["unit"])
    file, sha256, original = f"{_FOLDER}/{document['file']}", document["sha256"], document["original"]
    if not is_table:
        return DatasetSpec(
            name, ANALOGIES, unit, document["rows"], {"section": str, "answers": str},
            DataFile(file, sha256, partial(read_analogies, original)), help=f"Your own analogies, {original}.",
        )  # fmt: skip
    table = OwnTable(tuple(document["columns"]), suffix, original, document.get("delimiter"), unit)
    low, high = document["scores"]
    return DatasetSpec(
        document["name"],
        _PAIRS[unit] if document["kind"] == "pairs" else LEXICON,
        unit,
        document["rows"],
        {table.value: float},
        DataFile(file, sha256, partial(OwnTable.read, table)),
        help=f"Your own table, {original}.",
        scores=(low, high),
    )
