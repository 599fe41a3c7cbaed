"""``embstore plot``: a picture of a metric, of drift, or of a stored result."""

import inspect
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Context, Option, Typer

from embstore.base.errors import UnknownNameError, UsageError

from . import maps
from ._errors import print_message
from ._groups import Arguments, keyword_options, with_parameters
from ._options import (
    TOP,
    NoCache,
    Quiet,
    StoreDir,
    StoreOptions,
    Values,
    divided,
    examples,
    given_options,
    open_store,
    stored_models,
    stored_spaces,
)
from ._output import check_places, show_progress
from .query import MetricGroup, metric_command, selection

if TYPE_CHECKING:
    from embstore.base.table import Table
    from embstore.metrics import Metric

_picture: Any = partial(Option, rich_help_panel="Picture")


def drawing(
    name: str | None,
    *,
    output: Annotated[
        Values,
        _picture(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the picture there (repeatable): .pdf, .png or .svg.",
            show_default="METRIC.svg",
        ),
    ] = None,
    result: Annotated[
        Path | None,
        _picture(
            "--from", metavar="FILE", help="Draw a result that query wrote as JSON; read no store."
        ),
    ] = None,
    column: Annotated[
        str | None,
        _picture(
            "--column", metavar="COLUMN", help="Column to draw, where the metric has several."
        ),
    ] = None,
    title: Annotated[
        str | None,
        _picture(
            "--title", metavar="TEXT", help="Title; '' for none.", show_default="the metric's name"
        ),
    ] = None,
    width: Annotated[
        str,
        _picture(
            "--width", metavar="LENGTH", help="Width of the whole picture on paper: 80mm, 3.3in."
        ),
    ] = "170mm",
    height: Annotated[
        str | None,
        _picture(
            "--height",
            metavar="LENGTH",
            help="Height of the whole picture.",
            show_default="one that suits it",
        ),
    ] = None,
    style: Annotated[
        Literal["paper", "screen", "dark"],
        _picture(
            "--style", help="paper (black on white, small type), screen (larger type) or dark."
        ),
    ] = "paper",
    labels: Annotated[
        Values,
        _picture("--space-label", metavar="SPACE=TEXT", help="Call a space so (repeatable)."),
    ] = None,
    x_label: Annotated[
        str | None, _picture("--x-label", metavar="TEXT", help="Title of the x axis.")
    ] = None,
    y_label: Annotated[
        str | None, _picture("--y-label", metavar="TEXT", help="Title of the y axis.")
    ] = None,
    value_range: Annotated[
        str | None, _picture("--range", metavar="MIN,MAX", help="Ends of the scale of values.")
    ] = None,
    caption: Annotated[
        str | None,
        _picture(
            "--caption",
            metavar="none|TEXT",
            help="Caption.",
            show_default="the number of vectors and what was chosen",
        ),
    ] = None,
    colours: Annotated[
        str,
        _picture(
            "--colours",
            metavar="LIST",
            help="Colours of the curves or the scale, with commas: '#0072B2,#D55E00'.",
        ),
    ] = "",
    label_words: Annotated[
        Values,
        _picture(
            "--label-words",
            metavar="WORDS",
            help="Write the texts of these items only (repeatable, or with commas).",
            show_default="all of at most 60",
            callback=divided,
        ),
    ] = None,
    logy: Annotated[
        bool, _picture("--logy", help="Make the scale of the values logarithmic.")
    ] = False,
    x_axis: Annotated[
        Literal["layer", "step"],
        _picture("--x", help="What the x axis shows: layers, or training steps."),
    ] = "layer",
    logx: Annotated[
        bool, _picture("--logx", help="With --x step: make its scale logarithmic.")
    ] = False,
    quiet: Quiet = False,
    compute: Callable[[], list["Table"]] | None = None,
) -> None:
    """Draw a result into files; say where, unless they were named. A stored one may need no
    name.
    """
    from embstore.plot import PlotOptions, check_file, draw, read_result

    options = PlotOptions(
        column=column,
        title=title,
        width=width,
        height=height,
        style=style,
        logy=logy,
        x=x_axis,
        logx=logx,
        labels=labels or (),
        x_label=x_label,
        y_label=y_label,
        range=value_range,
        caption=caption,
        colours=colours,
        label_words=label_words,
    )
    check_places([Path(file) for file in output or ()])
    for file in output or ():
        check_file(file)
    if result is not None:
        tables = [read_result(result, name)]
    elif compute is not None:
        with show_progress(quiet):
            tables = compute()
    else:
        raise UsageError(
            "name a metric, as in embstore plot anisotropy, or a stored result: --from result.json"
        )
    picture = draw(tables, options)
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    for note in () if quiet else (*notes, *picture.notes):
        print_message(note)
    for file in output or [f"{name or (result and result.stem)}.svg"]:
        picture.savefig(file)
        if not output and not quiet:
            print_message(f"Written: {file}")


def _stored(
    *, no_cache: NoCache = False, store: StoreDir = None, store_option: StoreOptions = None
) -> None:
    """Declare the options of the store from which a picture is computed."""


_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=Context)
_DRAWING_MAP = [parameter for parameter in keyword_options(drawing) if parameter.name != "compute"]
_DRAWING = [parameter for parameter in _DRAWING_MAP if parameter.name != "label_words"]
_NAMES = {parameter.name for parameter in _DRAWING_MAP}
_OF_STORE = keyword_options(_stored)


def _draw(
    name: str,
    compute: Callable[..., list["Table"]],
    options: Arguments,
    own_names: Container[str] = (),
) -> None:
    """Draw what is computed with the options that are not of the drawing, or a stored result."""
    ctx = options.pop("ctx")
    drawn = {key: options.pop(key) for key in _NAMES if key in options and key not in own_names}
    if drawn["result"] is not None and (unsuitable := given_options(ctx, [*drawn])):
        raise UsageError(
            f"{unsuitable[0]} is about what is computed, and --from draws a stored result. Leave"
            f" {unsuitable[0]} out."
        )
    drawing(name, **drawn, compute=lambda: compute(**options))


def _beside(
    *,
    beside: Annotated[
        Values,
        Argument(
            metavar="METRIC",
            help="Metrics to draw beside it, of the same spaces and items; or as --space.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Declare the further metrics of a picture."""


def _plot_metric(metric: "Metric", **options: Any) -> None:
    from embstore.metrics import METRICS, get_metric

    own_names = {parameter.name for parameter in metric.parameters}
    beside, ctx = options["beside"] or (), options["ctx"]
    stored = {*beside} - {*METRICS} and {*stored_spaces(ctx), *stored_models(ctx)}
    options["models"] = [*(options["models"] or ()), *filter(stored.__contains__, beside)]
    try:
        others = [get_metric(name).name for name in beside if name not in stored]
    except UnknownNameError as error:
        names = [*error.known, *sorted(stored)]
        raise UnknownNameError("metric or space", error.name, names) from None

    def compute(
        store: Values, store_option: Values, no_cache: bool, beside: Values, **selected: Any
    ) -> "list[Table]":
        opened, chosen = open_store(store, store_option), selection(**selected)
        shared = {name: value for name, value in chosen.items() if name not in own_names}
        first = opened.query(metric.name, cache=not no_cache, **chosen)
        return [first, *(opened.query(name, cache=not no_cache, **shared) for name in others)]

    _draw(metric.name, compute, options, own_names)


def _plot_drift(**options: Any) -> None:
    """Draw how the neighbourhoods of items change over layers, or between two spaces: a curve for
    each item.
    """

    def compute(
        store: Values, store_option: Values, no_cache: bool, texts: Values, **selected: Any
    ) -> "list[Table]":
        if selected["pairs"] == "all":
            raise UsageError("a picture of drift is of adjacent layers: leave out --pairs all.")
        opened = open_store(store, store_option)
        return [opened.drift(texts or (), cache=not no_cache, **selected)]

    _draw("drift", compute, options)


def _plot_map(**options: Any) -> None:
    """Draw the maps of layers, mapped together with all layers, as embstore map does without
    --layer: the top layer, or those of --layer.
    """

    def compute(
        store: Values, store_option: Values, method: str | None, named: Values, **selected: Any
    ) -> "list[Table]":
        selected["models"] = [*(selected["models"] or ()), *(named or ())]
        return [open_store(store, store_option).map_items(method=method or "pca", **selected)]

    _draw("map", compute, options)


class PlotGroup(MetricGroup):
    """The group of commands that draw a metric, and of the one that draws drift."""

    def command_of_metric(self, metric: "Metric") -> Any:
        """Return the command that draws a metric."""
        return metric_command(
            metric,
            _plot_metric,
            [
                _CONTEXT,
                *keyword_options(_beside),
                *keyword_options(selection),
                *_DRAWING,
                *_OF_STORE,
            ],
        )


app = Typer()
_plots = Typer(cls=PlotGroup, no_args_is_help=True, subcommand_metavar="METRIC ...")
app.add_typer(_plots, name="plot")


_OUTPUT = {"form", "as_json", "as_csv", "output", "csv_safe", "ids_as_text", "quiet"}
_plots.command(
    "drift",
    epilog=examples(
        "how-to/maps.md",
        "embstore plot drift bank river -o drift.svg",
        "embstore plot drift --most 3 --column turnover -o most.pdf",
    ),
)(
    with_parameters(
        _plot_drift,
        [
            _CONTEXT,
            *(
                parameter.replace(kind=parameter.KEYWORD_ONLY)
                for parameter in inspect.signature(maps.drift).parameters.values()
                if parameter.name not in _OUTPUT
            ),
            *_DRAWING,
        ],
    )
)


_plots.command("map", epilog=examples("how-to/maps.md", "embstore plot map -o map.png"))(
    with_parameters(
        _plot_map,
        [
            _CONTEXT,
            *(
                parameter.replace(
                    kind=parameter.KEYWORD_ONLY,
                    default=TOP if parameter.name == "layers" else parameter.default,
                )
                for parameter in inspect.signature(maps.map).parameters.values()
                if parameter.name not in _OUTPUT | {"ctx", "force", "stored"}
            ),
            *_DRAWING_MAP,
        ],
    )
)


def _plot(ctx: Context, **options: Any) -> None:
    """Draw metrics, drift, a map, or a stored result (--from), as PDF, PNG or SVG.

    The options of a metric: embstore plot METRIC --help. Those of drift: embstore plot drift
    --help.
    """
    if ctx.invoked_subcommand is None:
        drawing(None, **options)
    elif given_options(ctx, ()):
        raise UsageError(
            f"options stand after the metric: embstore plot {ctx.invoked_subcommand} --layer 0-6"
            " -o figure.svg"
        )


_plots.callback(
    invoke_without_command=True,
    epilog=examples(
        "how-to/plot.md",
        "embstore plot anisotropy --model gpt2 -o figure.svg",
        "embstore plot --from result.json -o a.pdf -o a.png",
        "embstore plot anisotropy --model pythia-70m --x step --logx",
    ),
)(with_parameters(_plot, [_CONTEXT, *_DRAWING]))
