"""``embstore plot``: a picture of a metric, of drift, or of a stored result."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embstore.base.errors import UsageError

from . import _options, maps
from ._errors import say
from ._options import grouped, open_store, option, parameters_of
from ._progress import show_progress
from ._reading import made
from .query import MetricGroup, metric_command

if TYPE_CHECKING:
    from embstore.base.table import Table
    from embstore.metrics import Metric

_NoCache = Annotated[
    bool, option("--no-cache", "Compute again; use nothing stored, and store nothing.")
]


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What is drawn besides results to compute, how and where: the options of ``plot`` and of each
    of its commands.
    """

    output: Annotated[list[str] | None, option("--output -o FILE",
        "Write the picture there (repeatable): .svg, .png, .pdf, .html or .vl.json.  "
        "[default: METRIC.svg]")] = None  # fmt: skip
    result: Annotated[
        Path | None, option("--from FILE", "Draw a result that query wrote as JSON; read no store.")
    ] = None
    column: Annotated[
        str | None, option("--column COLUMN", "Column to draw, where the metric has several.")
    ] = None
    title: Annotated[
        str | None, option("--title TEXT", "Title; '' for none.  [default: the metric's name]")
    ] = None
    width: Annotated[
        str, option("--width LENGTH", "Width of the whole picture on paper: 80mm, 3.3in.")
    ] = "170mm"
    height: Annotated[
        str | None,
        option("--height LENGTH", "Height of each panel.  [default: one that suits the width]"),
    ] = None
    style: Annotated[
        str,
        option(
            "--style paper|screen|dark",
            "paper (black on white, small type), screen (larger type) or dark.",
        ),
    ] = "paper"
    labels: Annotated[
        list[str] | None, option("--label SPACE=TEXT", "Call a space so (repeatable).")
    ] = None
    x_label: Annotated[str | None, option("--x-label TEXT", "Title of the x axis.")] = None
    y_label: Annotated[str | None, option("--y-label TEXT", "Title of the y axis.")] = None
    range_: Annotated[str | None, option("--range MIN,MAX", "Ends of the scale of values.")] = None
    caption: Annotated[
        str | None,
        option(
            "--caption none|TEXT", "Caption.  [default: the number of vectors and what was chosen]"
        ),
    ] = None
    colours: Annotated[
        str,
        option(
            "--colours LIST", "Colours of the curves or the scale, with commas: '#0072B2,#D55E00'."
        ),
    ] = ""
    logy: Annotated[bool, option("--logy", "Make the scale of the values logarithmic.")] = False
    x_axis: Annotated[
        str, option("--x layer|step", "What the x axis shows: layers, or training steps.")
    ] = "layer"
    logx: Annotated[bool, option("--logx", "With --x step: make its scale logarithmic.")] = False
    quiet: _options.QuietQuery = False

    def check_stored_result(self, context: typer.Context) -> None:
        """Raise UsageError if a stored result is drawn, and options are given of what would be
        computed.
        """
        if self.result is not None and (given := _options.given_options(context, _NAMES)):
            raise UsageError(
                f"{given[0]} is about what is computed, and --from draws a stored result. Leave"
                f" {given[0]} out."
            )

    def draw(self, name: str | None, compute: Callable[[], "Table"] | None = None) -> None:
        """Draw a result into files; say where, unless they were named. A stored one may need no
        name.
        """
        from embstore.plot import PlotOptions, draw, file_type, read_result

        options = PlotOptions(
            column=self.column,
            title=self.title,
            width=self.width,
            height=self.height,
            style=self.style,
            logy=self.logy,
            x=self.x_axis,
            logx=self.logx,
            labels=self.labels or (),
            x_label=self.x_label,
            y_label=self.y_label,
            range=self.range_,
            caption=self.caption,
            colours=self.colours,
        )
        for file in self.output or ():
            _options.check_place(Path(file))
            file_type(file)
        if self.result is not None:
            table = read_result(self.result, name)
        elif compute is not None:
            with show_progress(self.quiet):
                table = compute()
        picture = draw(table, options)
        for note in () if self.quiet else (*table.notes, *picture.notes):
            say(note)
        for file in self.output or [f"{name or (self.result and self.result.stem)}.svg"]:
            picture.save(file)
            if not self.output and not self.quiet:
                say(f"Written: {file}")


_NAMES = {field.name for field in fields(_Drawing)}


def _plot_metric(
    context: typer.Context,
    store: _options.StoreDir = None,
    no_cache: _NoCache = False,
    **options: Any,
) -> None:
    metric = options.pop("metric")
    own = {name: options.pop(name) for name in options.pop("own_names") if name in _NAMES}
    drawing = _Drawing(**{name: options.pop(name) for name in _NAMES & options.keys()})

    def compute() -> "Table":
        return open_store(store).query(metric, cache=not no_cache, **options, **own)

    drawing.check_stored_result(context)
    drawing.draw(metric, compute)


def _plot_drift(
    *,
    context: typer.Context,
    given: Annotated[dict[str, Any], maps.arguments],
    drawing: _Drawing,
    store: _options.StoreDir = None,
    no_cache: _NoCache = False,
) -> None:
    """Draw how the neighbourhoods of items change over layers, or between two spaces: a curve for
    each item.
    """

    def compute() -> "Table":
        if given["pairs"] == "all":
            raise UsageError("a picture of drift is of adjacent layers: leave out --pairs all.")
        return open_store(store).drift(**given, cache=not no_cache)

    drawing.check_stored_result(context)
    drawing.draw("drift", compute)


def _metric_command(metric: "Metric") -> Any:
    own = {parameter.name for parameter in metric.parameters}
    drawing = [parameter for parameter in parameters_of(_Drawing) if parameter.name not in own]
    run = partial(_plot_metric, own_names=own)
    command = metric_command(metric, run, [*drawing, *parameters_of(_plot_metric)])
    command.rest = "Picture"
    return command


class PlotGroup(MetricGroup):
    """The group of commands that draw a metric, and of the one that draws drift."""

    make_command = staticmethod(_metric_command)
    others = ("drift",)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names of the metrics, and of drift."""
        with formatter.section("Metrics (embstore query --help says what each is), and drift"):
            formatter.write_text(", ".join(self.list_commands(ctx)))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a metric or of drift, or end with a message that gives the
        reason.
        """
        return (
            made(_plot_drift, "drift")
            if cmd_name == "drift"
            else super().get_command(ctx, cmd_name)
        )


app = typer.Typer(
    cls=PlotGroup,
    add_completion=False,
    rich_markup_mode=None,
    subcommand_metavar="METRIC ...",
    no_args_is_help=True,
)


@app.callback(invoke_without_command=True)
@grouped
def plot(*, context: typer.Context, drawing: _Drawing) -> None:
    """Draw a metric, drift, or a stored result (--from), as SVG, PNG, PDF, HTML or a Vega-Lite
    specification.

    The options of a metric: embstore plot METRIC --help. Those of drift: embstore plot drift
    --help.
    """
    sources = map(context.get_parameter_source, context.params)
    are_given = any(source is not None and source.name != "DEFAULT" for source in sources)
    if context.invoked_subcommand is None and drawing.result is not None:
        drawing.draw(None)
    elif context.invoked_subcommand is None:
        raise UsageError(
            "Name a metric, as in embstore plot anisotropy, or a stored result: --from result.json"
        )
    elif are_given:
        raise UsageError(
            f"Options stand after the metric: embstore plot {context.invoked_subcommand} --layer"
            " 0-6 -o figure.svg"
        )
