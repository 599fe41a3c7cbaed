"""Write the two notes of a result: how its numbers were measured, and what is missing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embstore.base.messages import MOST_NAMED, Note, first_of
from embstore.base.table import show_parameter
from embstore.query.provenance import is_drawn

if TYPE_CHECKING:
    from embstore.query.request import MetricRequest, Selection

Row = Mapping[str, Any]

_MAX_SENTENCES = 3
_COUNTS = ("n_zero", "n_duplicates", "n_tied", "n_rare")
_LEVEL = 0.05  # of tests


def joined(sentences: Iterable[str], reasons: Iterable[str] = ()) -> list[str]:
    """Return sentences as one note; none for none. Shown briefly, it has of many the first, the
    reasons why rows lack a number, and how many others there are.
    """
    distinct = [*dict.fromkeys([*sentences, *reasons])]
    if not distinct:
        return []
    note, always = Note(" ".join(distinct)), {*reasons}
    shown = [text for i, text in enumerate(distinct) if i < _MAX_SENTENCES or text in always]
    n_more = len(distinct) - len(shown)
    note.brief = " ".join([*shown, f"And {n_more} more."]) if n_more > 1 else str(note)
    return [note]


def measured(
    request: "MetricRequest", rows: Sequence[Row], drawn: Iterable[str], more: Iterable[str] = ()
) -> list[str]:
    """Return the note on how rows were measured: over how many items, with which parameters, and
    what was drawn at random.
    """
    if not rows:
        return []
    parts = [_n_items(request, rows), *selected(request.selection), *_parameters(request, rows)]
    more = [*more, *_too_few_draws(rows)]
    return [f"{'; '.join([*parts, *dict.fromkeys(drawn), *more])}."]


def drawn(request: "MetricRequest", shared: Row, rows: Iterable[Row]) -> Iterator[str]:
    """Yield what the metric drew at random for rows that its function returned."""
    describe = request.metric.drawn
    for row in rows:
        if is_drawn(request, row):
            text = "drawn at random" if describe is None else describe({**shared, **row})
            yield f"{text} (seed {request.selection.seed})"


def _too_few_draws(rows: Iterable[Row]) -> Iterator[str]:
    """Yield what to raise if a p that is as low as its random draws allow is not below .05 after
    its adjustment for the number of tests.
    """
    for row in rows:
        draws, adjusted = row.get("permutations"), row.get("p_holm")
        if draws and adjusted and adjusted >= _LEVEL and row["p"] <= 2 / (draws + 1):
            text = f"{draws:,} draws allow no p_holm below .05 for so many tests"
            yield f"{text}: raise `permutations`"
            return


def selected(selection: "Selection") -> Iterator[str]:
    """Yield how items were drawn, and how their vectors were transformed."""
    if selection.sample is not None:
        yield f"at most {selection.sample:,} items, drawn at random (seed {selection.seed})"
    if selection.transforms:
        within = ", fitted on each group" if selection.fits_groups else ""
        yield f"after {' '.join(selection.transforms)}{within}"


def _n_items(request: "MetricRequest", rows: Sequence[Row]) -> str:
    numbers = [row["n"] for row in rows]
    text = f"n = {shown_range(numbers)}"
    totals = [row["total"] for row in rows if row.get("total") is not None]
    if totals and totals != numbers:
        text += f" of {shown_range(totals)}"
    spaces = {row["space"] for row in rows}
    is_of_one_unit = len({row["unit"] for row in rows}) == 1
    if len(spaces) > 1 and is_of_one_unit and min(numbers) < max(numbers) and not request.common:
        text += " (common=True takes the items of all spaces alone)"
    return text


def shown_range(numbers: Sequence[int]) -> str:
    """Return the smallest and the largest of some numbers, once if they are equal."""
    return "–".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)}))


def _parameters(request: "MetricRequest", rows: Sequence[Row]) -> Iterator[str]:
    """Yield the parameters that differ from their defaults."""
    for parameter in request.metric.row_parameters:
        if parameter.only_with == ("versus", ()):  # which the note on versus names
            continue
        values = [row[parameter.name] for row in rows if row[parameter.name] is not None]
        distinct = dict.fromkeys(
            tuple(value) if isinstance(value, list) else value for value in values
        )
        if any(value != parameter.default for value in distinct):
            texts = [str(v) if isinstance(v, float) else show_parameter(v) for v in distinct]
            many = first_of(texts, MOST_NAMED) if len(texts) > MOST_NAMED else " or ".join(texts)
            yield f"{parameter.name} = {many}"


def missing(request: "MetricRequest", rows: Sequence[Row]) -> dict[str, bool]:
    """Return the reasons of missing values in rows, and the counts of what was left out, each with
    whether it is a reason.

    Each is named once, with the first row that it holds for, and the number of the others.
    """
    columns = [
        column
        for column in request.metric.columns
        if column.name in _COUNTS or column.name.endswith("_left_out")
    ]
    rows_with: dict[str, list[Row]] = {}
    for row in rows:
        if row["reason"]:
            rows_with.setdefault(str(row["reason"]), []).append(row)
        for column in columns:
            if row[column.name]:
                text = f"{column.name} = {row[column.name]} ({column.help})"
                rows_with.setdefault(text, []).append(row)
    reasons, sentences = {row["reason"] for row in rows}, {}
    keys = ["group", *request.metric.key_names]
    for text, members in rows_with.items():
        first = members[0]
        names = [str(first[key]) for key in keys if first.get(key) is not None]
        layers = [first[name] for name in ("layer_name", "layer_name_2") if name in first]
        where = ", ".join([first["space"], *names, f"layer {' with '.join(layers)}"])
        more = len(members) - 1
        others = f" and {more} more row{'s' * (more > 1)}" if more else ""
        sentences[f"{where}{others}: {text}."] = text in reasons
    return sentences
