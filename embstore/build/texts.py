"""Read the sources of a build, and stage their distinct items on disk."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from embstore.base.errors import UsageError
from embstore.base.progress import Observer, Progress, ignore
from embstore.base.space import Unit
from embstore.base.text import NO_WORD, TOO_LONG, Item, Span, escaped, is_too_long, is_unicode, item_id, items_of
from embstore.build.kept import KeptRows
from embstore.sources import NO_COLUMNS, STDIN, Blank, GivenTexts, Keep, Source, Targets, find_dataset, open_source
from embstore.storage.staging.columns import StagedColumns
from embstore.storage.staging.staging import Batch, Staging


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources to read for one unit.

    Attributes:
        names: Files, ``-`` for standard input, or names of datasets.
        unit: Unit of the items.
        columns: Text columns of tabular files.
        keep: Columns of tabular files whose values are stored with the items.
        limit: Maximum number of texts to read; a dataset that exceeds it is not stored as a dataset.
        per_text: Number of occurrences to sample from each sentence; None for all.
        seed: Random seed of that sample.
        header: Whether the first line of CSV and TSV files names the columns.
        delimiter: Character that separates columns; None to detect it.
        targets: Where the target of each sentence is given, which is then the only item of it; None for all items.
        given: Texts that the caller gives, which are read after the named sources.

    Raises:
        UsageError: Standard input is named twice, or an option is invalid.
    """

    names: tuple[str, ...]
    unit: Unit = Unit.WORD
    columns: tuple[str, ...] = ()
    keep: Keep = NO_COLUMNS
    limit: int | None = None
    per_text: int | None = None
    seed: int = 0
    header: bool = True
    delimiter: str | None = None
    targets: Targets | None = None
    given: GivenTexts | None = None

    def __post_init__(self) -> None:
        if self.names.count(STDIN) > 1:
            raise UsageError("standard input (-) can be read only once.")
        for name, value in (("limit", self.limit), ("per_text", self.per_text)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.per_text is not None and self.unit is not Unit.OCCURRENCE:
            raise UsageError(
                f"per_text draws words from sentences: it needs the unit 'occurrence', not {self.unit.value!r}."
            )
        has_targets = self.targets is not None or (self.given is not None and self.given.targets is not None)
        if has_targets and self.unit is not Unit.OCCURRENCE:
            raise UsageError(
                f"targets in sentences are occurrences, not {self.unit.value}s: give ⦃span⦄ and ⦃targets⦄ with "
                "⦃unit=occurrence⦄, or neither."
            )
        if has_targets and self.per_text is not None:
            raise UsageError("⦃per-text⦄ draws from all words of a sentence: leave it out with ⦃span⦄ and ⦃targets⦄.")


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """The rows of a named dataset.

    Attributes:
        name: File name in the store, without suffix.
        kind: Kind of the dataset.
        columns: Values by column: ``item_id``, ``text``, for pairs ``item_id_2``, ``text_2``, for analogies up to
            ``text_4``, then the dataset's own columns in their order.
    """

    name: str
    kind: str
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, texts: Sequence[tuple[int, str]], values: Mapping[str, Any]) -> None:
        """Append a row.

        Args:
            texts: Item id and text; two of them for a pair, four for an analogy. Those after are only embedded.
            values: Values of the dataset's own columns.
        """
        row: dict[str, Any] = {}
        for (item, text), suffix in zip(texts, ("", "_2", "_3", "_4"), strict=False):
            row |= {f"item_id{suffix}": item, f"text{suffix}": text}
        for key, value in {**row, **values}.items():
            self.columns.setdefault(key, []).append(value)


@dataclass(frozen=True, slots=True)
class Texts:
    """The staged texts of the sources of one unit.

    Attributes:
        unit: Unit of the items.
        staging: Distinct items.
        n_texts: Number of texts read, duplicates included.
        blanks: Number of rows without a text, or whose text gives no items, by reason.
        datasets: Rows of the named datasets among the sources.
        columns: Values to keep with the items.
        notes: Notes for the user about how the sources were read.
    """

    unit: Unit
    staging: Staging
    columns: StagedColumns
    n_texts: int = 0
    blanks: Counter[str] = field(default_factory=Counter)
    datasets: tuple[DatasetRows, ...] = ()
    notes: tuple[str, ...] = ()


def group_by_unit(
    sources: Sequence[str], unit: Unit | None = None, files: Unit = Unit.WORD
) -> dict[Unit, tuple[str, ...]]:
    """Group sources by unit: the given unit, else the dataset's own, else that of ``files``."""
    groups: dict[Unit, tuple[str, ...]] = {}
    for source in sources:
        dataset = None if unit is not None else find_dataset(source)
        source_unit = unit or (files if dataset is None else dataset.unit)
        groups[source_unit] = (*groups.get(source_unit, ()), source)
    return groups


def read_texts(sources: Sources, staging: Staging, observe: Observer = ignore) -> Texts:
    """Read all sources, and stage their distinct items.

    Args:
        sources: Sources to read.
        staging: Empty staging database of the same unit.
        observe: Callback for progress: the texts read of each source.

    Raises:
        SourceError: A source cannot be read, has no text or changes while it is read, or two different texts have the
            same id.
    """
    reader = _Reader(sources, staging, observe)
    opened = [
        open_source(
            name,
            columns=sources.columns,
            keep=sources.keep,
            header=sources.header,
            delimiter=sources.delimiter,
            targets=sources.targets,
        )
        for name in sources.names
    ]
    if sources.given is not None:
        opened.append(sources.given.open(sources.keep))
    for source in opened:
        reader.read(source)
        reader.end(source)
    reader.stage()
    staging.deduplicate()
    notes = tuple(remark for source in opened for remark in source.remarks)
    return Texts(sources.unit, staging, reader.columns, reader.n_texts, reader.blanks, tuple(reader.datasets), notes)


class _Reader:
    """Reads sources one by one, and stages their texts in batches."""

    def __init__(self, sources: Sources, staging: Staging, observe: Observer) -> None:
        self._observe, self._n_reported = observe, 0
        self._unit, self._per_text, self._seed = sources.unit, sources.per_text, sources.seed
        self._limit = sources.limit or float("inf")
        self._staging, self._batch = staging, Batch()
        self.columns = StagedColumns(staging)
        self._kept = KeptRows(self.columns)
        self.n_texts = 0
        self.blanks: Counter[str] = Counter()
        self.datasets: list[DatasetRows] = []

    def read(self, source: Source) -> None:
        """Read a source to its end or to the limit."""
        if self.n_texts >= self._limit:
            return
        dataset, n_before_source = source.dataset, self.n_texts
        rows = DatasetRows(source.stored_name or source.name, "" if dataset is None else dataset.kind)
        for row in source.rows():
            if self._batch.is_full:
                self.stage()
                self._n_reported = self.n_texts - n_before_source
                self._observe(Progress("read", source.name, self._n_reported))
            if isinstance(row, Blank):
                self._skip(row.reason, row.origin)
                continue
            n_before = len(self._batch.ids)
            members = [
                self._add(text, row.origin, span)
                for text, span in zip(row.texts, row.spans or repeat(None), strict=False)
                if self.n_texts < self._limit
            ]
            if dataset is None and row.values:
                self._kept.add(self._batch.ids[n_before:], row.origin, row.values)
            # The scores of whole texts are not stored for the occurrences in them.
            if dataset is not None and all(member is not None for member in members) and len(members) == len(row.texts):
                rows.add([member for member in members if member is not None], row.values)
            if self.n_texts >= self._limit:
                source.check_unchanged()
                return
        if dataset is None:
            return
        for text in dataset.extra:
            if self.n_texts >= self._limit:
                return
            self._add(text, f"the words that {dataset.name} brings")
        if rows.columns:
            self.datasets.append(rows)

    def end(self, source: Source) -> None:
        """Report that a source is read, if it was so large that its reading was reported."""
        if n := self._n_reported:
            self._observe(Progress("read", source.name, n, n, 1.0))
            self._n_reported = 0

    def stage(self) -> None:
        """Stage the texts read since the last call."""
        self._staging.add(self._batch)
        self._batch = Batch()

    def _skip(self, reason: str, origin: str) -> None:
        """Count a row without items, and stage it for the list of skipped texts."""
        self.blanks[reason] += 1
        self._batch.blanks.append((reason, origin))

    def _add(self, text: str, origin: str, span: Span | None = None) -> tuple[int, str] | None:
        """Add the items of a text to the batch.

        Args:
            text: Word or sentence.
            origin: Place in the source.
            span: Only occurrence to add; None for all words of a sentence.

        Returns:
            Id and text of the item, an occurrence as ``the [bank] of the river``; None for all words of a sentence.
        """
        self.n_texts += 1
        self._batch.n_chars += len(text)
        if self._unit is not Unit.OCCURRENCE:
            return self._add_whole(text, origin)
        if span is not None:
            item = Item.occurrence(text, span)
            self._add_occurrences(text, [item], origin)
            return item.id, item.shown
        if is_too_long(text):
            self._skip(TOO_LONG, origin)
        elif items := items_of(text, self._unit, per_text=self._per_text, seed=self._seed):
            self._add_occurrences(text, items, origin)
        else:
            self._skip(NO_WORD, origin)
        return None

    def _add_whole(self, text: str, origin: str) -> tuple[int, str]:
        """Add a word or a sentence to the batch; return its id and text."""
        batch, valid, new_id = self._batch, is_unicode(text), item_id(self._unit, text)
        batch.ids.append(new_id)
        batch.texts.append(text if valid else escaped(text))
        batch.origins.append(origin)
        batch.valid.append(valid)
        return new_id, text

    def _add_occurrences(self, text: str, items: Sequence[Item], origin: str) -> None:
        """Add some occurrences in a sentence to the batch."""
        batch, valid = self._batch, is_unicode(text)
        storable, context_id = text if valid else escaped(text), item_id(Unit.SENTENCE, text)
        batch.sentence_ids.append(context_id)
        batch.sentences.append(storable)
        batch.sentence_origins.append(origin)
        for item in items:
            if item.span is None:
                continue
            batch.ids.append(item.id)
            batch.texts.append(item.text if valid else escaped(item.text))
            batch.context_ids.append(context_id)
            batch.spans.append(item.span)
            batch.origins.append(origin)
            batch.valid.append(valid)
