"""``embstore plot``: a picture of a metric, or of a stored result."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import _options
from ._errors import explained, say
from .query import MetricGroup, metric_command, query_arguments, shared_options

if TYPE_CHECKING:
    from embstore.metrics import Metric
    from embstore.table import Table

_Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the picture there (repeatable): .svg, .png, .pdf, .html or .vl.json.  [default: METRIC.svg]",
    ),
]
_Result = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="Draw a result that query wrote with --format json; read no store."),
]
_Column = Annotated[
    str | None, typer.Option("--column", metavar="COLUMN", help="Column to draw, where the metric has several.")
]
_Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Title.  [default: the metric's name]")]
_Width = Annotated[
    str, typer.Option("--width", metavar="LENGTH", help="Width of the picture: 80mm, 3.3in or pixels (96 an inch).")
]
_Height = Annotated[
    str | None,
    typer.Option("--height", metavar="LENGTH", help="Height of each panel.  [default: one that suits the width]"),
]
_Theme = Annotated[str, typer.Option("--theme", metavar="paper|screen|dark", help="Colours and size of type.")]
_LogScale = Annotated[bool, typer.Option("--logy", help="Make the scale of the values logarithmic.")]


def _draw(
    table: "Table",
    name: str,
    output: list[str] | None,
    column: str | None,
    title: str | None,
    width: str,
    height: str | None,
    theme: str,
    logy: bool,
    quiet: bool,
) -> None:
    """Draw a table into files; say where, unless they were named."""
    picture = table.plot(column=column, title=title, width=width, height=height, theme=theme, logy=logy)
    for note in () if quiet else (*table.notes, *picture.notes):
        say(note)
    for file in output or [f"{name}.svg"]:
        picture.save(file)
        if not output and not quiet:
            say(f"Written: {file}")


def _plot(
    output: _Outputs = None,
    result: _Result = None,
    column: _Column = None,
    title: _Title = None,
    width: _Width = "640",
    height: _Height = None,
    theme: _Theme = "paper",
    logy: _LogScale = False,
    quiet: _options.QuietQuery = False,
    store: _options.StoreDir = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute all answers again: use no stored ones, and store none.")
    ] = False,
    **options: Any,
) -> None:
    metric = options.pop("metric")
    with explained():
        _check_types(output)
        if result is not None:
            table = _read(result, metric)
        else:
            from embstore.store import Store

            from ._progress import show_progress

            with show_progress(quiet):
                table = Store(store).query(metric, cache=not no_cache, **query_arguments(options))
        _draw(table, metric, output, column, title, width, height, theme, logy, quiet)


def _check_types(files: list[str] | None) -> None:
    from embstore.plot import file_type

    for file in files or ():
        file_type(file)


def _read(path: Path, metric: str | None = None) -> "Table":
    from embstore.plot import read_result

    return read_result(path, metric)


def _plot_command(metric: "Metric") -> Any:
    return metric_command(metric, _plot, shared_options(_plot))


class PlotGroup(MetricGroup):
    """The group of commands that draw a metric."""

    make_command = staticmethod(_plot_command)


app = typer.Typer(
    cls=PlotGroup, add_completion=False, rich_markup_mode=None, subcommand_metavar="METRIC ...", no_args_is_help=True
)


@app.callback(invoke_without_command=True)
def plot(
    context: typer.Context,
    output: _Outputs = None,
    result: _Result = None,
    column: _Column = None,
    title: _Title = None,
    width: _Width = "640",
    height: _Height = None,
    theme: _Theme = "paper",
    logy: _LogScale = False,
    quiet: _options.QuietQuery = False,
) -> None:
    """Draw a metric, or a stored result (--from), as SVG, PNG, PDF, HTML or a Vega-Lite specification.

    The options of a metric: embstore plot METRIC --help.
    """
    with explained():
        from embstore.errors import UsageError

        sources = map(context.get_parameter_source, context.params)
        are_given = any(source is not None and source.name != "DEFAULT" for source in sources)
        if context.invoked_subcommand is None and result is not None:
            _check_types(output)
            _draw(_read(result), result.stem, output, column, title, width, height, theme, logy, quiet)
        elif context.invoked_subcommand is None:
            raise UsageError("Name a metric, as in embstore plot anisotropy, or a stored result: --from result.json")
        elif are_given:
            raise UsageError(
                f"Options stand after the metric: embstore plot {context.invoked_subcommand} --layer 0-6 -o figure.svg"
            )
