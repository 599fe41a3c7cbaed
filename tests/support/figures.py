"""Results to draw, and what their figures show."""

from matplotlib.text import Text
from results import result_of

from embstore.base.chart import Chart
from embstore.metrics import get_metric
from embstore.plot import PlotOptions, draw

MODELS = ("minilm.word.last", "gpt2.word.last")


def rows_of(spaces=MODELS, layers=("0", "1", "2", "raw"), **more):
    """Return a row for each space and layer; values that are functions get their numbers."""
    return [
        {"space": space, "layer": at, "layer_name": name, "n": 100, "reason": None,
         "score": 0.1 * at + 0.2 * where}
        | {key: value(where, at) if callable(value) else value for key, value in more.items()}
        for where, space in enumerate(spaces)
        for at, name in enumerate(layers)
    ]  # fmt: skip


def result(rows, **chart):
    """Return rows whose column ``score`` is drawn."""
    hints = {"values": ("score",), "title": "Agreement"} | chart
    return result_of(rows, columns=list(rows[0]), chart=Chart(**hints))


def pairs(rows, space_2=""):
    """Return a row for each pair of a row's layer with one of three."""
    return [
        row | {"space_2": space_2 or row["space"], "layer_2": at, "layer_name_2": str(at)}
        for row in rows
        for at in range(3)
    ]


def metric_result(name, rows, parameters=None):
    """Return rows as the result of a metric, with null for the columns that they do not give."""
    declared = get_metric(name)
    declared = declared.with_columns_for(declared.check(parameters or {}))
    settings = {parameter.name: parameter.default for parameter in declared.row_parameters}
    empty = {"space": MODELS[0], "layer": 0, "layer_name": "0", "n": 100}
    empty |= settings | {column.name: None for column in declared.columns} | {"reason": None}
    full = [empty | row for row in rows]
    return result_of(full, columns=list(full[0]), chart=declared.chart, types=declared.types)


def figure_of(table, **options):
    """Return the figure of a result, or of several."""
    return draw(table, PlotOptions(**options))


def texts(figure):
    """Return the texts of a figure that are not empty."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def caption(figure):
    """Return the caption of a figure."""
    return figure.texts[-1].get_text().replace("\u00a0", " ")


def curves(ax):
    """Return name of a curve → its points."""
    return {
        str(line.get_label()): [*map(tuple, line.get_xydata().tolist())]
        for line in ax.get_lines()
        if not str(line.get_label()).startswith("_")
    }


def circled(ax, mark="o"):
    """Return the points that have a hollow mark round them."""
    return [
        tuple(point)
        for line in ax.get_lines()
        if line.get_marker() == mark and line.get_markerfacecolor() == "none"
        for point in line.get_xydata().tolist()
    ]
