"""Read a table from JSON, and as the parts of a picture: series, layers, caption, curves over
training steps.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.base.chart import COSINE, DRIFT, Chart, name_of, with_groups
from embstore.base.errors import UsageError
from embstore.base.labels import labelled
from embstore.base.messages import printable
from embstore.base.space import without_revision
from embstore.base.table import Row, Table, show, show_parameter
from embstore.metrics import Metric, all_metrics, get_metric

NO_VALUE = "no value"  # name of the group of the items without a value

RUN, CURVE, STEP_NAME = "run", "curve", "step_name"
SAME = "no_difference"  # column of results of a test: whether no difference was found
_LEVEL = 0.05  # adjusted p-value from which on none was
_GROUPS = ("group_1", "group_2")
_MOST_CURVES = 8  # words that have a curve each
BASELINES = {"dotted": (1, 3), "dashed": (6, 4)}  # patterns of the lines beside a curve

_SELECTION = ("transform", "where", "words", "sample", "by", "bins")
"""Columns of the selection of items, and of the transforms of their vectors, which results have if
there are any.
"""
_DRAWS = ("seed", "differences")
"""Columns of random draws, which change the value little: the metadata of a picture has them, and
no caption.
"""


@dataclass(frozen=True)
class LayerAxis:
    """Places of layers on an axis: numbered layers at their numbers, those with a name after
    them.
    """

    places: Mapping[str, int]

    @classmethod
    def of(cls, names: Iterable[str]) -> "LayerAxis":
        """Return the axis for the layers of these names, in any order and repeated."""
        distinct = list(dict.fromkeys(names))
        numbers = sorted({int(name) for name in distinct if name.isdecimal()})
        end = numbers[-1] + 1 if numbers else 0
        named = [name for name in distinct if not name.isdecimal()]
        return cls({str(n): n for n in numbers} | {name: end + at for at, name in enumerate(named)})

    @property
    def names(self) -> list[str]:
        """The names in order of their places."""
        return sorted(self.places, key=self.places.__getitem__)


def distinct(rows: Iterable[Row], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the distinct values of columns, each as a tuple, in order of appearance."""
    return list(dict.fromkeys(tuple(row[column] for column in columns) for row in rows))


def with_pair_title(table: Table, chart: Chart) -> Chart:
    """Return a chart whose x axis says that each layer is compared with the one before it, where it
    is.
    """
    is_within = chart.layer == "layer_2" and all(
        row.get("space_2") == row["space"] for row in table.rows
    )
    return chart._replace(x_title="layer, compared with the one before") if is_within else chart


def with_group_names(table: Table) -> Table:
    """Return results with a name for the group of the items without a value, which has none."""
    if "group" not in table.columns:
        return table
    return replace(
        table, rows=tuple({**row, "group": row["group"] or NO_VALUE} for row in table.rows)
    )


def with_labels(table: Table, given: Mapping[str, str]) -> tuple[Table, dict[str, str], str]:
    """Return results with labels in place of the names of spaces, space → label, and what all
    spaces have in common.
    """
    assert table.chart is not None
    second = "against" if table.chart.x == "steps" else "space_2"
    columns = [name for name in ("space", second) if name in table.columns]
    rows, labels, shared = labelled(table.rows, columns, ("versus", RUN, CURVE), given)
    return replace(table, rows=rows), labels, shared


def with_single_item(table: Table) -> Table:
    """Return results of one word or sentence over several layers as curves, a curve a space."""
    chart = table.chart
    if (
        chart is None
        or chart.items is None
        or chart.kind != "curves"
        or "layer_name" in chart.facets
    ):
        return table
    rows = tuple(row for row in table.rows if row[chart.items] is not None)
    if len(distinct(rows, (chart.items,))) != 1 or len(distinct(rows, ("layer_name",))) < 2:
        return table
    return replace(
        table, rows=rows, chart=chart._replace(items=None, facets=(*chart.facets, chart.items))
    )


def has_best(rows: Sequence[Row], chart: Chart, value: str) -> bool:
    """Return whether a curve of a value marks the best of several layers."""
    if chart.kind != "curves" or chart.items is not None or not chart.best:
        return False
    is_marked = any(row[chart.best] and row[value] is not None for row in rows)
    return is_marked and len({row[chart.layer] for row in rows}) > 1


def about_results(table: Table, value: str, labels: Mapping[str, str], shared: str) -> list[str]:
    """Return all that is known of the results, for the metadata of a file: the caption, with every
    setting.
    """
    assert table.chart is not None
    spaces = [
        space if label in (space, shared) else f"{label}: {space}"
        for space, label in labels.items()
    ]
    return [", ".join(spaces), "; ".join(caption(table, table.chart, value, "", is_complete=True))]


def caption(
    table: Table, chart: Chart, value: str, shared: str, *, is_complete: bool = False
) -> list[str]:
    """Return the parts of the caption: spaces, inputs such as the dataset, selected items,
    settings, missing values.

    Of the settings, those that are not the default, unless all are requested.
    """
    parts = [printable(text) for text in (shared, _against(table, chart)) if text]
    for column in dict.fromkeys(
        (*chart.facets, *(("layer_name",) if chart.items else ()))
    ):  # items have no such axis
        inputs = {row[column] for row in table.rows}
        if len(inputs) == 1 and column != "space" and None not in inputs:
            name = column.removesuffix("_name").replace("_", " ")
            parts.append(f"{name}: {printable(show(inputs.pop()))}")
    n = sorted({row["n"] for row in table.rows if row.get("n") is not None})
    if n:
        parts.append(f"n = {n[0]:,}" if len(n) == 1 else f"n = {n[0]:,}–{n[-1]:,}")
    low_high = dict(chart.intervals).get(value)
    if low_high and any(row[low_high[0]] is not None for row in table.rows):
        parts.append("95 % intervals")
    if columns := dict(chart.bands).get(value):
        named = " to ".join(name_of(chart, column) for column in columns)
        parts.append(f"band: {'± ' * (len(columns) == 1)}{named}")
    beside = zip(BASELINES, drawn_baselines(table, chart, value), strict=False)
    parts += [f"{pattern}: {name_of(chart, column)}" for pattern, column in beside]
    if has_best(table.rows, chart, value):
        parts.append("diamond: best layer")
    if any(row.get(SAME) for row in table.rows):
        parts.append(
            f"{'hollow' if chart.items else 'circle'}: {_compared(table)} was found"
            " (adjusted\u00a0p\u00a0≥\u00a0.05)"
        )
    if "p_holm" in table.columns and not any(row.get(SAME) for row in table.rows):
        parts.append(
            f"{_compared(table).replace('no ', 'a ', 1)} was found everywhere"
            " (adjusted\u00a0p\u00a0<\u00a0.05)"
        )
    is_heat_map = chart.kind == "heat map" and chart.x != "steps"
    if is_heat_map and any(row["space"] != row.get("space_2") for row in table.rows):
        parts.append("outlined: equal depth")
    parts += _calibration(table, value)
    parts += _settings(table, chart, is_complete=is_complete)
    lost = [row for row in table.rows if row[value] is None]
    if len(lost) == len(table.rows):
        return parts
    item = chart.items or ""
    drawn = {row.get(item) for row in table.rows if row[value] is not None} | {None}
    items = list(dict.fromkeys(row[item] for row in lost if row.get(item) not in drawn))
    if items:  # which a strip has no line for
        parts.append(f"without a value: {printable(show_parameter(items, with_hash=False))}")
    if n_lost := sum(row.get(item) in drawn for row in lost):
        parts.append(f"{n_lost} of {len(table.rows)} without a value")
    return parts


def _against(table: Table, chart: Chart) -> str:
    """Return which space others are compared with, as ``A against B``, where neither an axis nor a
    panel says it.
    """
    if chart.kind == "heat map" or chart.x == "steps" or "space_2" not in table.columns:
        return ""
    pairs = [pair for pair in distinct(table.rows, ("space", "space_2")) if pair[0] != pair[1]]
    first, others = ({pair[side]: None for pair in pairs} for side in (0, 1))
    return (
        " ".join([*(first if len(first) == 1 else ()), "against", ", ".join(others)])
        if pairs
        else ""
    )


def _settings(table: Table, chart: Chart, *, is_complete: bool) -> list[str]:
    """Return the selection and the settings that all rows share; those with default values only if
    requested.
    """
    defaults, parts = dict(chart.defaults), []
    for column in dict.fromkeys((*_SELECTION, *chart.settings, *_DRAWS)):
        if column in _DRAWS and not is_complete:
            continue
        values = {
            _setting(row[column]): row[column] for row in table.rows if row.get(column) is not None
        }
        is_default = column in defaults and [*values] == [_setting(defaults[column])]
        if len(values) == 1 and (is_complete or not is_default):
            [shared] = values.values()
            parts.append(
                f"{column.replace('_', ' ')}: {printable(_setting(shared, with_hash=is_complete))}"
            )
    return parts


def _compared(table: Table) -> str:
    """Return what was not found, in words: a change, or a difference from a layer, the best or that
    of a space.
    """
    others = (
        [name for (name,) in distinct(table.rows, ("versus",)) if name]
        if "versus" in table.columns
        else []
    )
    if not others or others == ["best"]:
        return "no difference from the best layer" if others else "no change"
    is_space = others[0] in {row["space"] for row in table.rows}
    return (
        f"no difference from {'the same layer of' if is_space else 'layer'}"
        f" {printable(', '.join(others))}"
    )


def _calibration(table: Table, value: str) -> list[str]:
    """Return what the column ``calibrated`` says, if it is drawn."""
    given = {
        (row["permutations"], row["over"]) for row in table.rows if row.get("over") is not None
    }
    if value != "calibrated" or len(given) != 1:
        return []
    [(n, over)] = given
    shuffles = f"5 % of {n:,} shuffles of the items"
    level = (
        f"what the highest pair reaches in {shuffles}"
        if over == "max"
        else f"what {shuffles} reach"
    )
    return [f"calibrated: 0 up to {level}, 1 for the highest possible value"]


def _setting(value: Any, *, with_hash: bool = True) -> str:
    """Return the value of a setting as the caption has it: 0.1 and 100,000."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return show_parameter(value, with_hash=with_hash)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def reasons(table: Table, value: str) -> list[str]:
    """Return the distinct reasons why rows have no value, most frequent first."""
    found = Counter(
        printable(row.get("reason") or "no value") for row in table.rows if row[value] is None
    )
    return [why for why, _ in found.most_common()]


def drawn_baselines(table: Table, chart: Chart, value: str) -> list[str]:
    """Return the columns that are drawn as thin lines beside a value: those that some row has."""
    found = (
        dict(chart.baselines).get(value, ())
        if chart.kind == "curves" and chart.items is None
        else ()
    )
    return [column for column in found if any(row.get(column) is not None for row in table.rows)]


def with_band(table: Table, chart: Chart, value: str) -> tuple[Table, Chart]:
    """Return results and chart with the limits of the band of a value, if it has one that is no 95
    % interval.
    """
    columns = dict(chart.bands).get(value, ())
    if len(columns) == 1:
        ends = {"band_low": -1, "band_high": 1}
        rows = [
            (
                {**row, **{end: row[value] + sign * row[columns[0]] for end, sign in ends.items()}}
                if row[value] is not None and row[columns[0]] is not None
                else {**row, **dict.fromkeys(ends)}
            )
            for row in table.rows
        ]
        columns, table = tuple(ends), replace(table, rows=tuple(rows))
    return table, (
        chart._replace(intervals=((value, (columns[0], columns[1])),)) if columns else chart
    )


def _with_marks(table: Table) -> tuple[Row, ...]:
    """Return rows with the column ``SAME`` if they are of a test; it is also true of a layer
    compared with others.
    """
    if "p_holm" not in table.columns:
        return table.rows
    tested = {row["space"] for row in table.rows if row["p_holm"] is not None}
    rows = []
    for row in table.rows:
        is_same = (
            row.get("n_common") is not None if row["p_holm"] is None else row["p_holm"] >= _LEVEL
        )
        rows.append({**row, SAME: is_same and row["space"] in tested})
    return tuple(rows)


def over_keys(table: Table) -> Table:
    """Return results with their marks; those at several scales, or of a few words in groups, along
    an axis of these.
    """
    table = replace(table, rows=_with_marks(table))
    chart, rows = table.chart, table.rows
    assert chart is not None
    has_layers = len({row["layer_name"] for row in rows}) > 1
    rows = tuple({**row, "layer": f"{'layer ' * has_layers}{row['layer_name']}"} for row in rows)
    facets = [column for column in chart.facets if column not in ("space", "scale", *_GROUPS)]
    if "scale" in chart.facets and len({row["scale"] for row in rows}) > 1:
        rows = tuple(
            {**row, STEP_NAME: str(row["scale"])} for row in rows if row["scale"] is not None
        )
        chart = chart._replace(
            x="scales",
            x_title="scale: number of the neighbour",
            series="layer",
            layer="scale",
            layer_name=STEP_NAME,
            facets=("space", *facets, *(("group",) if chart.series == "group" else ())),
            is_ordered=True,
            settings=("layer", *chart.settings),
        )
        return replace(table, rows=rows, chart=chart)
    rows = tuple(
        row for row in rows if {*_GROUPS} <= {*chart.facets} and row["group_1"] is not None
    )
    pairs = distinct(rows, _GROUPS)
    is_in_order = all(pair[1] == following[0] for pair, following in pairwise(pairs))
    if len(pairs) < 2 or not is_in_order or len({row["word"] for row in rows}) > _MOST_CURVES:
        return table
    chart = chart._replace(
        x="groups",
        x_title=f"{rows[0].get('by', 'group')}, compared with the one before",
        series="word",
        items=None,
        facets=(*(("space",) if len({row["space"] for row in rows}) > 1 else ()), *facets, "layer"),
        layer=CURVE,
        layer_name="group_2",
    )
    rows = tuple({**row, CURVE: pairs.index((row["group_1"], row["group_2"]))} for row in rows)
    return replace(table, rows=rows, chart=chart)


def over_steps(table: Table) -> tuple[Table, list[str]]:
    """Return a table whose chart has training steps along the x axis, and notes.

    There is a curve for each layer, and for each item of a result about items; several runs have a
    panel each. Of layers against layers those of the same name are drawn.
    """
    chart = table.chart
    if chart is None or chart.kind == "bars":
        raise UsageError(
            "x='step' draws a value over training steps, and these results are arrays: leave it"
            " out."
        )
    if not any(row.get("step") is not None for row in table.rows):
        raise UsageError(
            "x='step' needs spaces of revisions that are named by their step (step1000,"
            " checkpoint-1000), and these results have none. Build them with: embstore build"
            " SOURCE --model NAME --revision step0,step1000"
        )
    rows = [row for row in table.rows if row["step"] is not None]
    left_out = list(dict.fromkeys(row["space"] for row in table.rows if row["step"] is None))
    notes = [
        f"{printable(space)} is not drawn: it is of no revision named by its step."
        for space in left_out
    ]
    if chart.kind == "heat map":
        found = [
            row
            for row in rows
            if row["space"] != row["space_2"] and row["layer_name"] == row["layer_name_2"]
        ]
        if not found:
            raise UsageError(
                "x='step' draws how near each layer is to the same one of another space: name that"
                " with against='SPACE'."
            )
        rows = found
    labels, varying = _labels(rows, chart)
    several_runs = len({label[RUN] for label in labels}) > 1
    facets = (
        *((RUN,) if several_runs and varying else ()),
        *(column for column in chart.facets if column != "space"),
    )
    drawn = [
        {**row, **label, CURVE: " · ".join(str(label[name]) for name in varying) or label[RUN]}
        for row, label in zip(rows, labels, strict=True)
    ]
    columns = tuple(dict.fromkeys((*table.columns, CURVE, *labels[0])))
    return (
        replace(
            table,
            columns=columns,
            rows=tuple(drawn),
            chart=chart._replace(
                kind="curves",
                facets=facets,
                items=None,
                best=None,
                series=CURVE,
                layer="step",
                layer_name=STEP_NAME,
                x="steps",
                x_title="training step",
                is_ordered=varying == ["layer"],
                settings=("layer", "against", *chart.settings),
            ),
        ),
        notes,
    )


def _labels(rows: Sequence[Row], chart: Chart) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the curve and the caption say about each row, and the columns in which the curves
    of a run differ.
    """
    items = [
        column for column in (chart.items, chart.series) if column is not None and column != "space"
    ]
    labels = []
    for row in rows:
        run, other = (
            without_revision(row["space"], row["revision"]),
            row.get("space_2", row["space"]),
        )
        labels.append(
            {
                RUN: run,
                "space": run,
                "layer": _layer(row),
                STEP_NAME: str(row["step"]),
                "against": None if other == row["space"] else other,
                **{column: row[column] for column in items},
            }
        )
    varying = [
        column for column in (*items, "layer") if len({label[column] for label in labels}) > 1
    ]
    if "layer" in varying:
        labels = [label | {"layer": f"layer {label['layer']}"} for label in labels]
    return labels, varying


def _layer(row: Mapping[str, Any]) -> str:
    """Return the layer of a row, or its two layers where they have different names."""
    second = row.get("layer_name_2", row["layer_name"])
    return str(row["layer_name"]) + ("" if second == row["layer_name"] else f"–{second}")


_REMEDY = "Write one: embstore query METRIC --format json -o result.json"


def read_result(path: str | Path, metric: str | None = None) -> Table:
    """Return the table of a file that ``embstore query METRIC --format json`` (or ``jsonl``), drift
    or cosine wrote.
    """
    path = Path(path)
    rows = _rows(path)
    if (
        metric in (None, "drift")
        and {*DRIFT.values, "mean_overlap", DRIFT.series} <= rows[0].keys()
    ):
        return Table(tuple(rows[0]), tuple(rows), chart=DRIFT)
    if metric is None and _is_cosine(rows[0]):
        for name in COSINE.facets:
            _check(path, rows, name, str, "text", nullable=False)
        _check(path, rows, "cosine", int | float, "of type number")
        return Table(tuple(rows[0]), tuple(rows), chart=COSINE)
    declared = _metric(path, rows[0], metric)
    for column in declared.columns:
        if column.type == "number" or column.type.startswith("array"):
            kind = list if column.type.startswith("array") else int | float
            _check(path, rows, column.name, kind, f"of type {column.type}")
    optional = (column for column in declared.optional if column.name in rows[0])
    chart = replace(declared, columns=(*declared.columns, *optional)).chart
    if "group" in rows[0]:
        chart = with_groups(chart, is_ordered="bins" in rows[0])
    return Table(tuple(rows[0]), tuple(rows), chart=chart, types=declared.types)


def _metric(path: Path, row: Mapping[str, Any], name: str | None) -> Metric:
    """Return the metric that a row is of: the one of that name, else the one that has its
    columns.
    """
    if name == "drift":
        raise UsageError(f"{path} is no result of embstore drift.")
    if name is not None:
        declared = get_metric(name)
        if missing := _missing_columns(declared, row):
            raise UsageError(
                f"{path} is no result of {name}: it has no column {', '.join(missing)}."
            )
        return declared
    found = [
        declared for declared in all_metrics()[0].values() if not _missing_columns(declared, row)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{path} is not of a metric, drift or cosines: no metric has its columns. {_REMEDY}"
        )
    names = ", ".join(declared.name for declared in found)
    raise UsageError(
        f"{path}: the metric is not known: these metrics have its columns: {names}. Name it:"
        f" embstore plot METRIC --from {path}"
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = disk.read_foreign(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}."
        ) from error
    try:
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [*map(json.loads, text.splitlines())]
        )
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}. {_REMEDY}") from error
    if not rows or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise UsageError(
            f"{path} is no result of embstore query: it must be a list of rows with the same"
            f" columns. {_REMEDY}"
        )
    required = ("space", "layer", "layer_name", *(() if _is_cosine(rows[0]) else ("n",)), "reason")
    missing = [name for name in required if name not in rows[0]]
    if missing:
        columns = ", ".join(missing)
        raise UsageError(
            f"{path} is no result of embstore query: it has no column {columns}. {_REMEDY}"
        )
    for name, kind in (
        ("space", str),
        ("layer", int),
        ("layer_name", str),
        ("n", int),
        ("step", int),
    ):
        for column in (name, f"{name}_2"):
            if column in rows[0]:
                expected, is_step = "text" if kind is str else "a whole number", name == "step"
                _check(
                    path,
                    rows,
                    column,
                    kind,
                    expected,
                    nullable=is_step,
                    least=0 if is_step else -math.inf,
                )
    return rows


def _check(
    path: Path,
    rows: "Sequence[Mapping[str, Any]]",
    column: str,
    kind: Any,
    expected: str,
    *,
    nullable: bool = True,
    least: float = -math.inf,
) -> None:
    """Raise UsageError for the first value of a column that is of another type."""
    for number, row in enumerate(rows, start=1):
        value = row[column]
        if value is None and nullable:
            continue
        if (
            not isinstance(value, kind)
            or isinstance(value, bool)
            or (kind is int and value < least)
        ):
            raise UsageError(f"{path}: row {number}: {column} must be {expected}, not {value!r}.")


def _is_cosine(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of ``embstore cosine``."""
    return {*COSINE.facets, *COSINE.values} <= row.keys() and "n" not in row


def _missing_columns(metric: Metric, row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a metric's results that a row does not have."""
    own = [column.name for column in metric.columns]
    settings = [parameter.name for parameter in metric.row_parameters]
    second = ["space_2", "layer_2", "layer_name_2"] if metric.needs == "layers" else []
    return [name for name in (*second, *own, *settings) if name not in row]
