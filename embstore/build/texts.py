"""Read the sources of a build, and stage their distinct items on disk."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from typing import Any

from embstore.base.errors import EncodeError, SourceError, UsageError, shortened
from embstore.base.progress import Progress, report_progress
from embstore.base.space import Template, Unit
from embstore.base.table import ShownColumn, Table, table
from embstore.base.text import (
    NO_WORD,
    TOO_LONG,
    Item,
    Span,
    escaped,
    is_too_long,
    items_of,
    name_problem,
    sampled,
)
from embstore.build.report import reason_key
from embstore.encode.records import Long
from embstore.encode.spans import Token
from embstore.encode.tokens import Tokenizer
from embstore.sources.datasets import get_datasets
from embstore.sources.opening import STDIN, GivenTexts, open_source
from embstore.sources.rows import NO_COLUMNS, Blank, Cell, Keep, Row, Targets
from embstore.sources.source import Source
from embstore.storage.cache import StoreFiles
from embstore.storage.staging.columns import KeptValue, StagedColumns
from embstore.storage.staging.staging import Staging
from embstore.storage.writer import StoreWriter, write_dataset

_WHOLE = r"(?:0|[1-9][0-9]*)"  # 007 is a text: as a number it would lose its zeros
_INTEGER = re.compile(rf"[ \t]*[+-]?{_WHOLE}[ \t]*")
_NUMBER = re.compile(rf"[ \t]*[+-]?(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*")
_BOOLEAN = re.compile(r"[ \t]*(?:true|false)[ \t]*", re.IGNORECASE)
_MISSING = frozenset(
    (  # what pandas.read_csv takes for missing, beside the empty string
        "NA",
        "N/A",
        "n/a",
        "NaN",
        "nan",
        "-NaN",
        "-nan",
        "NULL",
        "null",
        "None",
        "<NA>",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "1.#IND",
        "-1.#IND",
        "1.#QNAN",
        "-1.#QNAN",
    )
)
_INT64 = range(-(1 << 63), 1 << 63)
_REPORTED_ROWS = 20_000
COLUMNS = ("dataset", "kind", "unit", "rows")
SHOWN = (
    ShownColumn("dataset"),
    ShownColumn("kind"),
    ShownColumn("unit"),
    ShownColumn("rows", kind="count"),
)


Opened = tuple[Source, Iterator[Row | Blank]]
"""An opened source, and its rows, of which some may be in memory."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources to read for one unit."""

    names: tuple[str, ...]  # files, ``-`` for standard input, or names of datasets
    unit: Unit | None = Unit.WORD  # None for that of each source, which :func:`.by_unit` finds
    columns: tuple[str, ...] = ()
    keep: Keep = NO_COLUMNS
    limit: int | None = (
        # maximum number of texts to read; a dataset that exceeds it is not stored as a dataset
        None
    )
    # Number of occurrences or tokens to sample from each text; None for all.
    per_text: int | None = None
    seed: int = 0
    header: bool = True
    delimiter: str | None = None  # character that separates columns; None to detect it
    # Where the target of each sentence is given, which is then the only item of it; None for all
    # items.
    targets: Targets | None = None
    # Texts that the caller gives, which are read after the named sources.
    given_texts: GivenTexts | None = None
    opened: tuple[Opened, ...] = ()  # further sources
    special: bool = False  # whether the special tokens of a model are items of the unit ``token``

    def __post_init__(self) -> None:
        if self.names.count(STDIN) > 1:
            raise UsageError("standard input (-) can be read only once.")
        for name, value in (("limit", self.limit), ("per_text", self.per_text)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        has_targets = self.targets is not None or (
            self.given_texts is not None and self.given_texts.targets is not None
        )
        if has_targets and self.per_text is not None:
            raise UsageError(
                "`per_text` draws from all words of a sentence: leave it out with `span` and "
                "`targets`."
            )
        if self.special and self.unit is not Unit.TOKEN:
            raise UsageError(
                "`special` takes the model's special tokens as items: it needs unit='token'."
            )
        if self.unit in (None, Unit.OCCURRENCE):
            return
        if self.per_text is not None and not self.unit.has_context:
            raise UsageError(
                "per_text draws words or tokens from texts: it needs the unit 'occurrence' or "
                f"'token', not {self.unit.value!r}."
            )
        if has_targets:
            raise UsageError(
                f"targets in sentences are occurrences, not {self.unit.value}s: give `span` and "
                "`targets` with "
                "unit='occurrence', or neither."
            )

    def open(self, name: str, targets: Targets | None) -> Source:
        """Open one of the named sources."""
        return open_source(
            name,
            columns=self.columns,
            keep=self.keep,
            header=self.header,
            delimiter=self.delimiter,
            targets=targets,
        )


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """The rows of a named dataset."""

    name: str
    kind: str
    # Values by column: ``item_id``, ``text``, for pairs ``item_id_2``, ``text_2``, for analogies up
    # to ``text_4``, then the dataset's own columns in their order.
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, texts: Sequence[tuple[int, str]], values: Mapping[str, Any]) -> None:
        """Append a row."""
        row: dict[str, Any] = {}
        for (item, text), suffix in zip(texts, ("", "_2", "_3", "_4"), strict=False):
            row |= {f"item_id{suffix}": item, f"text{suffix}": text}
        for key, value in {**row, **values}.items():
            self.columns.setdefault(key, []).append(value)


@dataclass(frozen=True, slots=True)
class TokenReader:
    """Reads the tokens of texts as the model of a space does."""

    space: str  # its name
    tokenizer: Tokenizer
    template: Template
    long: Long

    def tokens(self, text: str, origin: str) -> tuple[list[Token], str]:
        """Return the tokens of a text, and why there are none; raise EncodeError for a text that
        may not be too long.
        """
        is_truncated = self.long == "truncate"
        tokens, cut = self.tokenizer.tokens(text, self.template, truncated=is_truncated)
        if cut and self.long == "error" and reason_key(cut) != cut:
            raise EncodeError(
                f"the text {shortened(text)!r} ({origin}) is too long: {cut}. Use long='skip' or"
                " long='truncate'."
            )
        return tokens, "" if tokens else cut or "no tokens"


def read_texts(
    sources: Sources, staging: Staging, token_readers: Sequence[TokenReader] = ()
) -> "Texts":
    """Read all sources, which are of one unit, and stage their distinct items; tokens as some
    readers give them.
    """
    texts = Texts(sources, staging, token_readers)
    named = [sources.open(name, sources.targets) for name in sources.names]
    named += [] if sources.given_texts is None else [sources.given_texts.open(sources.keep)]
    opened = [*sources.opened, *((source, source.rows()) for source in named)]
    for source, rows in opened:
        texts.read(source, rows)
        texts.notes += source.remarks
    staging.deduplicate()
    return texts


class Texts:
    """The staged texts of the sources of one unit, which are read one by one."""

    def __init__(
        self, sources: Sources, staging: Staging, token_readers: Sequence[TokenReader]
    ) -> None:
        self.unit, self._per_text, self._seed = staging.unit, sources.per_text, sources.seed
        self._token_readers, self._special = token_readers, sources.special
        self._limit = sources.limit or float("inf")
        self.staging = staging
        self.columns = StagedColumns(staging)
        self._names: dict[str, str] = {}  # of columns to keep: lower case → as written
        self.n_texts = 0
        self.blanks: Counter[str] = Counter()
        self.datasets: list[DatasetRows] = []
        self.notes: list[str] = []

    def read(self, source: Source, rows_of: Iterator[Row | Blank]) -> None:
        """Read a source to its end or to the limit, and report it if it is large."""
        if self.n_texts >= self._limit:
            return
        dataset, n_before = source.dataset, self.n_texts
        rows = DatasetRows(
            source.stored_name or source.name, "" if dataset is None else dataset.kind
        )
        n_rows = 0
        for n_rows, row in enumerate(rows_of, 1):
            if n_rows % _REPORTED_ROWS == 0:
                report_progress(Progress("read", source.name, self.n_texts - n_before))
            if isinstance(row, Blank):
                self._skip(row.reason, row.origin)
            else:
                self._add_row(row, rows)
            if self.n_texts >= self._limit:
                break
        else:
            if dataset is not None:
                is_whole = self.n_texts + len(dataset.extra) <= self._limit
                for text in dataset.extra:
                    if self.n_texts < self._limit:
                        self._add(text, f"additional words of {dataset.name}")
                if rows.columns and is_whole:
                    self.datasets.append(rows)
        source.check_unchanged()
        if n_rows >= _REPORTED_ROWS:
            n = self.n_texts - n_before
            report_progress(Progress("read", source.name, n, n))

    def _add_row(self, row: Row, rows: DatasetRows) -> None:
        """Stage the texts of a row up to the limit, with the values to keep, or as a row of a
        dataset.
        """
        ids_of = [
            self._add(text, row.origin, span)
            for text, span in zip(row.texts, row.spans or repeat(None), strict=False)
            if self.n_texts < self._limit
        ]
        in_sentences = self.unit.has_context
        if not rows.kind:
            if row.values:
                self._keep([item for ids in ids_of for item in ids], row)
        # The scores of whole texts are not stored for the occurrences in them.
        elif len(ids_of) == len(row.texts) and (row.spans or not in_sentences):
            pairs = zip(row.texts, row.spans, strict=False)
            shown = [Item.occurrence(*pair).shown for pair in pairs] if in_sentences else row.texts
            rows.add([(ids[0], text) for ids, text in zip(ids_of, shown, strict=True)], row.values)

    def _skip(self, reason: str, origin: str) -> None:
        """Count a row without items, and stage it for the list of skipped texts."""
        self.blanks[reason_key(reason)] += 1
        self.staging.add_blank(reason, origin)

    def _add(self, text: str, origin: str, span: Span | None = None) -> list[int]:
        """Stage the items of a text, and return their ids: itself, the occurrence at a span, or all
        words of it.
        """
        self.n_texts += 1
        if self.unit is Unit.TOKEN:
            return self._add_tokens(text, origin)
        if self.unit is not Unit.OCCURRENCE:
            return [self.staging.add(text, origin)]
        if span is not None:
            items = [Item.occurrence(text, span)]
        elif is_too_long(text):
            self._skip(TOO_LONG, origin)
            return []
        else:
            items = items_of(text, self.unit, per_text=self._per_text, seed=self._seed)
        if items:
            self.staging.add_occurrences(text, items, origin)
        else:
            self._skip(NO_WORD, origin)
        return [item.id for item in items]

    def _add_tokens(self, text: str, origin: str) -> list[int]:
        """Stage the tokens of a text as each model reads them, and return their distinct ids."""
        items: dict[int, Item] = {}
        for reader in self._token_readers:
            tokens, reason = reader.tokens(text, origin)
            tokens = [token for token in tokens if self._special or not token.is_special]
            if not tokens:
                self._skip(reason or "no tokens", origin)
            chosen = sampled([token.item.id for token in tokens], self._per_text, self._seed)
            for token in tokens:
                if (item := token.item).id in chosen:
                    items[item.id] = item
                    self.staging.add_token(
                        reader.space, item.id, token.position, is_special=token.is_special
                    )
        if items:
            self.staging.add_occurrences(text, items.values(), origin)
        return list(items)

    def _keep(self, ids: Sequence[int], row: Row) -> None:
        """Stage the values of a row for the items that it gives."""
        values = {}
        for name, value in row.values.items():
            if self._names.get(name.lower()) != name:
                self._check_name(name, row.origin)
            values[name] = classified(value, f"{row.origin}: the value of the column {name!r}")
        self.columns.add(ids, row.origin, values)

    def _check_name(self, name: str, origin: str) -> None:
        if problem := name_problem(name):
            raise SourceError(
                f"{origin}: the column {name!r} cannot be kept: {problem}. Rename the column."
            )
        other = self._names.setdefault(name.lower(), name)
        if other != name:
            raise SourceError(
                f"{origin}: the column {name!r} differs from the column {other!r} only in letter "
                "case. Rename one."
            )


def classified(value: object, what: str) -> KeptValue | None:
    """Return a value (a cell, number, boolean, string, date or time) as it is staged; None for a
    missing one or NaN.
    """
    if value is None:
        return None
    if isinstance(value, Cell):
        return KeptValue(_kind_of_cell(value), escaped(value))
    if isinstance(value, str):
        return KeptValue("s", escaped(value))
    if isinstance(value, bool):
        return KeptValue("b", str(value).lower())
    if isinstance(value, int):
        if value not in _INT64:
            raise SourceError(
                f"{what} is {value}, which 64 bits do not hold. Write it as a string."
            )
        return KeptValue("i", str(value))
    if isinstance(value, float | Decimal):
        number = float(value)
        if math.isinf(number):
            raise SourceError(f"{what} is not finite. Write a number, or leave it out.")
        return None if math.isnan(number) else KeptValue("f", repr(number))
    if isinstance(value, date | datetime | time):
        return KeptValue("s", value.isoformat())
    raise SourceError(
        f"{what} is of type {type(value).__name__}. Write a number, boolean or string."
    )


def _kind_of_cell(cell: str) -> str:
    """Return the kind that a cell looks like; see :class:`.KeptValue`."""
    if _INTEGER.fullmatch(cell):
        return "I" if int(cell) in _INT64 else "S"
    if _NUMBER.fullmatch(cell):
        return "F" if math.isfinite(float(cell)) else "S"
    if _BOOLEAN.fullmatch(cell):
        return "B"
    return "-" if cell.strip() in _MISSING else "S"


def store_datasets(place: Path | StoreFiles, names: Sequence[str], unit: Unit | None) -> Table:
    """Write the rows of datasets to a store; those that are stored for the same unit are
    replaced.
    """
    datasets = get_datasets(names)
    files = StoreFiles.of_folder(place)
    files.manifest()
    rows: list[dict[str, Any]] = []
    with StoreWriter(files):
        for name, dataset in datasets.items():
            chosen = unit or dataset.unit
            with Staging(files.root, chosen) as staging:
                read = read_texts(Sources((name,), chosen), staging).datasets
            if not read:
                raise UsageError(
                    f"the rows of {name!r} are of the unit {dataset.unit.value}, and are not "
                    "stored for "
                    f"{chosen.value}s. Leave out `unit`."
                )
            [stored] = read
            write_dataset(files, stored.name, stored.kind, chosen, stored.columns)
            values = (stored.name, stored.kind, chosen.value, len(stored.columns["text"]))
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return table(rows, columns=COLUMNS, shown=SHOWN)
