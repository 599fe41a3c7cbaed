"""Declare the chart that shows a table of results: a value, and what it is drawn over."""

from typing import Literal, NamedTuple

ChartKind = Literal["curves", "heat map", "bars"]
"""``curves``: the value over the layers, one curve a space. ``heat map``: the value of layers
against layers. ``bars``: an array for each layer, as stacked bars.
"""


class Chart(NamedTuple):
    """The chart of a table of results.

    Attributes:
        values: Columns that can be drawn, the default first: of several, the first that has a value
            in some row.
        ranges: Column → range as text, such as ``−1 to 1``, of the columns that have one.
        intervals: Column → columns of the lower and the upper limit of its interval.
        facets: Columns, such as ``dataset``, each combination of whose values gets a panel of its
            own.
        items: Column, such as ``word``, whose values, if there are any, stand in a strip; None for
            none.
    """

    kind: ChartKind
    values: tuple[str, ...]
    title: str = ""  # name of what is measured, as a title has it
    labels: tuple[
        tuple[str, str], ...
    ] = ()  # column → what it is called on an axis, of those with a name of its own
    defaults: tuple[
        tuple[str, object], ...
    ] = ()  # setting → its default, which a caption does not state
    distances: tuple[str, ...] = ()  # columns whose small values mean that two layers are alike
    units: tuple[
        tuple[str, str], ...
    ] = ()  # column → unit of measurement, of the columns that have one
    ranges: tuple[tuple[str, str], ...] = ()
    intervals: tuple[tuple[str, tuple[str, str]], ...] = ()
    bands: tuple[
        tuple[str, tuple[str, ...]], ...
    ] = ()  # column → those of the deviation, or the limits, of a band
    baselines: tuple[
        tuple[str, tuple[str, ...]], ...
    ] = ()  # column → those that are thin lines beside its curve
    facets: tuple[str, ...] = ()
    items: str | None = None
    bar_names: str | None = (
        None  # column of arrays with the name of each bar; None to number the bars from 1
    )
    settings: tuple[str, ...] = ()  # columns with the settings that the caption states
    best: str | None = None  # boolean column that marks the best layer; None for none
    series: str = "space"  # column whose values have a curve each
    layer: str = "layer"  # column with the numbers of the layers, along the x axis of curves
    layer_name: str = "layer_name"  # column with their names
    x: Literal["layers", "steps", "scales", "groups"] = (
        "layers"  # what is along the x axis of curves
    )
    x_title: str = "layer"  # title of the x axis of curves
    sides: tuple[str, str] = ("layer", "layer")  # titles of a heat map's layers, down and across
    is_ordered: bool = False  # whether the curves have an order, which their colours show


def name_of(chart: Chart, column: str) -> str:
    """Return what a picture calls a column."""
    return dict(chart.labels).get(column, column.replace("_", " "))


def with_groups(chart: Chart, *, is_ordered: bool) -> Chart:
    """Return the chart of results with the column ``group``: a curve a group and a panel a space,
    else a panel each.

    Args:
        chart: Chart of the same results without groups.
        is_ordered: Whether the groups are intervals, whose order colours show.
    """
    return chart._replace(series="group", facets=("space", *chart.facets), is_ordered=is_ordered)


COSINE = Chart(
    "curves",
    ("cosine",),
    title="Cosine",
    ranges=(("cosine", "−1 to 1"),),
    facets=("text", "text_2"),
    settings=("transform",),
)
"""The chart of cosines: a panel for each pair of texts, a curve for each space."""

DRIFT = Chart(
    "curves",
    ("overlap", "turnover"),
    title="Drift of neighbourhoods",
    labels=(("overlap", "shared neighbours"), ("turnover", "turnover of neighbours")),
    ranges=(("overlap", "0 to 1"), ("turnover", "0 to 2")),
    facets=("space",),
    settings=("k",),
    series="text",
    layer="layer_2",
    layer_name="layer_name_2",
)
"""The chart of the drift of items between adjacent layers: a curve for each item."""
