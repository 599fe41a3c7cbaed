"""Sources to items: what a build embeds, each text once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embstore.errors import UsageError
from embstore.sources import STDIN, Blank, Source, find_dataset, open_source
from embstore.space import Unit
from embstore.text import Item, items_of


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """The rows of a named dataset.

    Attributes:
        name: of its file in the store.
        kind: of the dataset.
        columns: ``item_id``, ``text``, of pairs ``item_id_2``, ``text_2``, and the values that the dataset brings; in
            its order.
    """

    name: str
    kind: str
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, items: Sequence[Item], values: Mapping[str, Any]) -> None:
        """Add the row of an item, or of the two items of a pair."""
        row: dict[str, Any] = {}
        for item, suffix in zip(items, ("", "_2"), strict=False):
            row |= {f"item_id{suffix}": item.id, f"text{suffix}": item.text}
        for key, value in {**row, **values}.items():
            self.columns.setdefault(key, []).append(value)


@dataclass(frozen=True, slots=True)
class Texts:
    """What the sources hold.

    Attributes:
        unit: what a vector stands for.
        items: by id, in the order of their first appearance.
        origins: where each item stands first ("words.txt:12").
        blanks: rows that hold no text.
        n_texts: texts read, repeats included.
        datasets: the rows of the named datasets among the sources.
    """

    unit: Unit
    items: dict[int, Item] = field(default_factory=dict)
    origins: dict[int, str] = field(default_factory=dict)
    blanks: list[Blank] = field(default_factory=list)
    n_texts: int = 0
    datasets: tuple[DatasetRows, ...] = ()


def by_unit(sources: Sequence[str], unit: Unit | None = None) -> dict[Unit, tuple[str, ...]]:
    """Return the sources by what a vector of theirs stands for: the given unit, a dataset's own, or a word."""
    found: dict[Unit, tuple[str, ...]] = {}
    for source in sources:
        dataset = None if unit is not None else find_dataset(source)
        of = unit or (Unit.WORD if dataset is None else dataset.unit)
        found[of] = (*found.get(of, ()), source)
    return found


def read_texts(
    sources: Sequence[str],
    unit: Unit,
    *,
    columns: Sequence[str] = (),
    limit: int | None = None,
    per_text: int | None = None,
    seed: int = 0,
) -> Texts:
    """Read all sources.

    Args:
        sources: files, ``-`` or names of datasets.
        unit: what a vector stands for.
        columns: the columns of tables that hold texts.
        limit: stop after this many texts. Half a dataset is not kept as a dataset.
        per_text: of occurrences, how many to draw from each sentence.
        seed: of that draw.

    Raises:
        SourceError: a source cannot be read or holds no text.
        UsageError: standard input is named twice, or an option is out of range.
    """
    _check(sources, unit, limit, per_text)
    reader = _Reader(unit, limit, per_text, seed)
    for source in [open_source(spec, columns=columns) for spec in sources]:
        reader.read(source)
    return Texts(unit, reader.items, reader.origins, reader.blanks, reader.n_texts, tuple(reader.datasets))


class _Reader:
    """Reads sources one by one."""

    def __init__(self, unit: Unit, limit: int | None, per_text: int | None, seed: int) -> None:
        self._unit, self._limit, self._per_text, self._seed = unit, limit, per_text, seed
        self.items: dict[int, Item] = {}
        self.origins: dict[int, str] = {}
        self.blanks: list[Blank] = []
        self.n_texts = 0
        self.datasets: list[DatasetRows] = []

    @property
    def _is_full(self) -> bool:
        return self._limit is not None and self.n_texts >= self._limit

    def read(self, source: Source) -> None:
        """Read a source to its end or to the limit."""
        if self._is_full:
            return
        dataset = source.dataset
        rows = DatasetRows(source.stored_name or source.name, "" if dataset is None else dataset.kind)
        for row in source.rows():
            if isinstance(row, Blank):
                self.blanks.append(row)
                continue
            items = [self._add(text, row.origin) for text in row.texts if not self._is_full]
            # The words of a text are not what its score or value is of.
            if dataset is not None and self._unit is not Unit.OCCURRENCE and len(items) == len(row.texts):
                rows.add([item for one in items for item in one], row.values)
            if self._is_full:
                return
        if dataset is None:
            return
        for text in dataset.extra:
            if self._is_full:
                return
            self._add(text, f"the words that {dataset.name} brings")
        if rows.columns:
            self.datasets.append(rows)

    def _add(self, text: str, origin: str) -> list[Item]:
        self.n_texts += 1
        items = items_of(text, self._unit, per_text=self._per_text, seed=self._seed)
        for item in items:
            self.items.setdefault(item.id, item)
            self.origins.setdefault(item.id, origin)
        return items


def _check(sources: Sequence[str], unit: Unit, limit: int | None, per_text: int | None) -> None:
    if list(sources).count(STDIN) > 1:
        raise UsageError("standard input (-) can be read only once.")
    for name, value in (("limit", limit), ("per_text", per_text)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}.")
    if per_text is not None and unit is not Unit.OCCURRENCE:
        raise UsageError(f"per_text draws words from sentences: it needs the unit 'occurrence', not {unit.value!r}.")
