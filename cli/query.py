"""``embstore query``: one command per metric, made from the table of metrics."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embstore.base.errors import EmbstoreError, UsageError, check_known
from embstore.base.labels import read_labels

from . import _options
from ._errors import refuse, wrapped
from ._options import only_store, open_store, option, parameters_of, set_parameters
from ._output import emit, json_text, write
from ._progress import show_progress
from ._reading import PlainGroup, made

if TYPE_CHECKING:
    from embstore.metrics import Metric, Parameter


_Intervals = Annotated[
    str | None,
    option(
        "--intervals columns|inline",
        "In a printed table: columns of their own, or value [low, high].  [default: columns]",
    ),
]
_Labels = Annotated[
    list[str] | None,
    option(
        "--label SPACE=TEXT",
        "In a printed table: call a space so (repeatable); LaTeX has the labels of figures by"
        " default.",
    ),
]


def _selection(
    *,
    filters: _options.Filters,
    layers: _options.LayerNames = "all",
    where: Annotated[
        str | None,
        option(
            "--where SQL",
            "Keep the items for which this holds; over item_id, unit, text, context_id, start,"
            ' "end" and columns (embstore '
            'info --columns): --where "length(text) > 3".',
        ),
    ] = None,
    listed: _options.Listed,
    sample: _options.Sample = None,
    seed: Annotated[
        int, option("--seed S", "Random seed of samples, resamples and permutations.")
    ] = 0,
    transforms: _options.Transforms = None,
    by: Annotated[
        str | None,
        option(
            "--by COLUMNS",
            "A row for each value of this column of the items (pos, position …), or of several:"
            " genre,label.",
        ),
    ] = None,
    bins: Annotated[
        str | None,
        option(
            "--bins N|EDGES",
            "With --by, for numbers: N intervals, or their edges; N with equally many items, or as"
            " in 0,10,100.",
        ),
    ] = None,
    common: Annotated[
        bool, option("--common", "Keep the items that all spaces of the query have.")
    ] = False,
) -> None:
    """Declare the options of all metrics that select spaces, layers and items, as arguments of
    :meth:`Store.query`.
    """


SELECTION = parameters_of(_selection)


def _query(
    quiet: _options.QuietQuery = False,
    store: _options.StoreDirs = None,
    form: _options.OutputFormat = _options.Format.TABLE,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
    explain: Annotated[
        bool,
        option(
            "--explain",
            "Explain the metric, and compute nothing; formula, citation, estimator, columns and"
            " options, and which "
            "answers are stored.",
        ),
    ] = False,
    no_cache: Annotated[
        bool, option("--no-cache", "Compute all answers again; use no stored ones, and store none.")
    ] = False,
    **options: Any,
) -> None:
    metric = options.pop("metric")
    intervals, labels = options.pop("intervals", None), options.pop("space_label", None) or ()
    check_known("layout of intervals", intervals, ("columns", "inline"))
    is_printed = form in (_options.Format.TABLE, _options.Format.MARKDOWN, _options.Format.LATEX)
    if not is_printed and (intervals == "inline" or labels):
        flag = "--space-label" if "label" in options else "--label"
        given, kept = (
            (flag, "spaces by name")
            if labels
            else ("--intervals inline", "low and high in columns")
        )
        raise UsageError(
            f"{given} is for table, markdown and latex: {form.value} has {kept}. Leave it out."
        )
    read_labels(labels)
    if explain:
        _explain(metric, store, options, form, output, cache=not no_cache)
        return
    with show_progress(quiet):
        found = open_store(only_store(store)).query(metric, cache=not no_cache, **options)
    shown = found.inline_intervals() if intervals == "inline" else found
    emit(shown, form, output, csv_safe=csv_safe, quiet=quiet, labels=labels)


def _explain(
    metric: str,
    store: Sequence[str] | None,
    options: dict[str, Any],
    form: _options.Format,
    output: Path | None,
    *,
    cache: bool,
) -> None:
    if form not in (_options.Format.TABLE, _options.Format.JSON, _options.Format.JSONL):
        raise UsageError(
            f"--explain is written as table (text), json or jsonl, not as {form.value}."
        )
    explanation = open_store(only_store(store)).explain_query(metric, cache=cache, **options)
    if form is _options.Format.TABLE:
        text = str(explanation)
    else:
        text = json_text(explanation.to_dict(), indent=2 if form is _options.Format.JSON else None)
    write(f"{text}\n", output, is_data=form is not _options.Format.TABLE)


def metric_command(
    metric: "Metric", run: Callable[..., None], shared: Sequence[inspect.Parameter]
) -> Any:
    """Return the command of a metric."""
    from embstore.metrics.explain import UNGROUPED

    def command(**options: Any) -> None:
        run(metric=metric.name, **options)

    own = {parameter.name for parameter in metric.parameters}
    selecting = [parameter for parameter in SELECTION if parameter.name not in own]
    everything = [*map(_parameter, metric.parameters), *selecting, *shared]
    set_parameters(command, everything)
    command.__doc__ = f"{metric.help}\n\n{metric.formula}\n\n{metric.citation}"
    built = made(command, metric.name)
    built.needs, built.own = metric.needs, own
    for parameter in built.params if "label" in own else ():
        if parameter.name in ("space_label", "labels"):  # whose usual name is that of a column
            parameter.opts = ["--space-label"]
    for parameter in (
        built.params if metric.needs in UNGROUPED else ()
    ):  # is still there, and refused with the reason
        parameter.hidden = parameter.hidden or parameter.name in ("by", "bins")
    return built


def _parameter(parameter: "Parameter") -> inspect.Parameter:
    from embstore.metrics.explain import flag_of, metavar_of

    is_repeatable = parameter.kind is tuple
    shown = parameter.help
    if is_repeatable and "repeat" not in shown:
        shown = f"{shown.rstrip('.')} (repeatable)."
    option = typer.Option(flag_of(parameter), help=shown, metavar=metavar_of(parameter) or None)
    kind: Any = list[str] if is_repeatable else parameter.kind
    default: Any = (
        list(parameter.default) or None
        if isinstance(parameter.default, tuple)
        else parameter.default
    )
    kind = kind if default is not None else kind | None
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )


def _query_command(metric: "Metric") -> Any:
    more = {"space_label": _Labels}
    if any(column.interval for column in metric.columns):
        more = {"intervals": _Intervals, **more}
    kind = inspect.Parameter.KEYWORD_ONLY
    shown = [
        inspect.Parameter(name, kind, default=None, annotation=option)
        for name, option in more.items()
    ]
    return metric_command(metric, _query, [*shown, *parameters_of(_query)])


class MetricGroup(PlainGroup):
    """The group of commands that are the metrics; the table is read when a metric is called.

    Other packages are looked for only where a metric is not built in, or all are listed.
    """

    make_command = staticmethod(_query_command)  # function that returns the command of a metric
    others: tuple[str, ...] = ()  # names of the commands that are no metrics

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what is before the metric; an option of a metric there is answered with its
        place.
        """
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            unknown: Any = error
            if hasattr(
                error, "possibilities"
            ):  # Typer does not export the class of the error on an unknown option
                unknown.message += (
                    f". Options follow the metric: {ctx.command_path} METRIC"
                    f" {unknown.option_name} …"
                )
            raise

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all metrics, and of the other commands."""
        from embstore.metrics import all_metrics

        return [*self.others, *all_metrics()[0]]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the help of each metric, and what is wrong with those that cannot be
        used.
        """
        from embstore.metrics import all_metrics

        metrics, refused = all_metrics()
        with formatter.section("Metrics"):
            formatter.write_dl([(metric.name, metric.help) for metric in metrics.values()])
        if refused:
            with formatter.section("Not usable"):
                for problem in refused:
                    formatter.write(
                        f"{wrapped(problem, formatter.width, ' ' * formatter.current_indent)}\n"
                    )

    def names(self) -> Iterable[str]:
        """Return the metrics, and the other commands; packages are named, and none is imported."""
        from importlib.metadata import entry_points

        from ._completion import METRICS

        points = entry_points(group="embstore.metrics")
        return dict.fromkeys([*self.others, *METRICS, *(point.name for point in points)])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a metric, or end with a message that gives the reason and the
        nearest name.
        """
        from embstore.metrics import get_metric

        try:
            return self.make_command(get_metric(cmd_name))
        except EmbstoreError as error:
            if ctx.resilient_parsing:
                return None
            refuse(error)


app = typer.Typer(
    cls=MetricGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    subcommand_metavar="METRIC ...",
)


@app.callback()
def query() -> None:
    """Compute a metric for each space and layer. The options of a metric: embstore query METRIC
    --help.
    """
