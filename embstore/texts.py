"""Sources to items: what a build embeds, each text once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from embstore.errors import UsageError
from embstore.sources import STDIN, Blank, Row, Source, open_source
from embstore.space import Unit
from embstore.text import Item, items_of


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """The rows of a named dataset: the item of each, and the values that it brings."""

    name: str
    item_ids: list[int] = field(default_factory=list)
    values: list[Mapping[str, float | int | str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Texts:
    """What the sources hold.

    Attributes:
        unit: what a vector stands for.
        items: by id, in the order of their first appearance.
        origins: where each item stands first ("words.txt:12").
        blanks: rows that hold no text.
        n_rows: rows that hold a text, repeats included.
        datasets: the rows of the named datasets among the sources.
    """

    unit: Unit
    items: dict[int, Item] = field(default_factory=dict)
    origins: dict[int, str] = field(default_factory=dict)
    blanks: list[Blank] = field(default_factory=list)
    n_rows: int = 0
    datasets: tuple[DatasetRows, ...] = ()


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
        limit: stop after this many texts.
        per_text: of occurrences, how many to draw from each sentence.
        seed: of that draw.

    Raises:
        SourceError: a source cannot be read or holds no text.
        UsageError: standard input is named twice, or an option is out of range.
    """
    _check(sources, unit, limit, per_text)
    opened = [open_source(spec, columns=columns) for spec in sources]
    texts = Texts(unit)
    datasets = []
    n_rows = 0
    for source in opened:
        rows = DatasetRows(source.stored_name or source.name)
        remaining = None if limit is None else limit - n_rows
        for row in _limited(source, remaining):
            if isinstance(row, Blank):
                texts.blanks.append(row)
                continue
            n_rows += 1
            for item in items_of(row.text, unit, per_text=per_text, seed=seed):
                texts.items.setdefault(item.id, item)
                texts.origins.setdefault(item.id, row.origin)
                rows.item_ids.append(item.id)
                rows.values.append(row.values)
        if source.dataset is not None and rows.item_ids and limit is None:
            datasets.append(rows)
    return Texts(unit, texts.items, texts.origins, texts.blanks, n_rows, tuple(datasets))


def _limited(source: Source, limit: int | None) -> Iterable[Row | Blank]:
    if limit is None:
        yield from source.rows()
        return
    rows = iter(source.rows())
    while limit > 0:
        chunk = list(islice(rows, limit))
        if not chunk:
            return
        yield from chunk
        limit -= sum(isinstance(row, Row) for row in chunk)


def _check(sources: Sequence[str], unit: Unit, limit: int | None, per_text: int | None) -> None:
    if list(sources).count(STDIN) > 1:
        raise UsageError("standard input (-) can be read only once.")
    for name, value in (("limit", limit), ("per_text", per_text)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}.")
    if per_text is not None and unit is not Unit.OCCURRENCE:
        raise UsageError(f"per_text draws words from sentences: it needs the unit 'occurrence', not {unit.value!r}.")
