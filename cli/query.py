"""``embstore query``: one command per metric, made from the table of metrics."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import _options
from ._errors import explained, refuse, wrapped
from ._output import emit, json_text, write
from ._reading import PlainCommand, PlainGroup

if TYPE_CHECKING:
    from embstore.metrics import Metric, Parameter


_Intervals = Annotated[
    str | None,
    typer.Option(
        "--intervals",
        metavar="columns|inline",
        help="In a table for the eye: columns of their own, or value [low, high].  [default: columns]",
    ),
]


def _query(
    model: _options.Models = None,
    space: _options.Spaces = None,
    unit: _options.UnitName = None,
    pooling: _options.PoolingName = None,
    template: _options.TemplateText = None,
    layer: Annotated[str, typer.Option("--layer", metavar="LAYERS", help=_options.LAYER_HELP)] = "all",
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="SQL",
            help='Keep the items for which this holds, over item_id, unit, text, context_id, start and "end": '
            '--where "length(text) > 3".',
        ),
    ] = None,
    timeout: _options.SqlTimeout = None,
    memory: _options.SqlMemory = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="Draw N items at random, without replacement.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="S", help="Seed of everything that is drawn (sample, bootstrap, permutations)."),
    ] = 0,
    transform: _options.Transforms = None,
    quiet: _options.QuietQuery = False,
    store: _options.StoreDir = None,
    form: _options.OutputFormat = _options.Format.TABLE,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Show formula, citation, estimator, columns and options, and which answers are stored; compute "
            "nothing.",
        ),
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute all anew: take no stored answer, and store none.")
    ] = False,
    **parameters: Any,
) -> None:
    metric = parameters.pop("metric")
    intervals = parameters.pop("intervals", None)
    options = {
        "models": model or (), "spaces": space or (), "unit": unit, "pooling": pooling, "template": template,
        "layers": layer, "where": where, "timeout": timeout, "memory": memory, "sample": sample, "seed": seed,
        "transforms": transform or (), **parameters,
    }  # fmt: skip
    with explained():
        _check_intervals(intervals, form)
        if explain:
            _explain(metric, store, options, form, output, cache=not no_cache)
            return
        from embstore.store import Store

        from ._progress import show_progress

        with show_progress(quiet):
            found = Store(store).query(metric, cache=not no_cache, **options)
        shown = found.inline_intervals() if intervals == "inline" else found
        emit(shown, form, output, csv_safe=csv_safe, quiet=quiet)


def _check_intervals(intervals: str | None, form: _options.Format) -> None:
    from embstore.errors import UnknownNameError, UsageError

    if intervals not in (None, "columns", "inline"):
        raise UnknownNameError("layout of intervals", intervals, ("columns", "inline"))
    if intervals == "inline" and form not in (_options.Format.TABLE, _options.Format.MARKDOWN):
        raise UsageError(f"--intervals inline is for table and markdown: {form.value} has low and high in columns.")


def _explain(
    metric: str,
    store: Path | None,
    options: dict[str, Any],
    form: _options.Format,
    output: Path | None,
    *,
    cache: bool,
) -> None:
    from embstore.errors import UsageError
    from embstore.store import Store

    if form not in (_options.Format.TABLE, _options.Format.JSON, _options.Format.JSONL):
        raise UsageError(f"--explain is written as table (text), json or jsonl, not as {form.value}.")
    explanation = Store(store).explain_query(metric, cache=cache, **options)
    if form is _options.Format.TABLE:
        text = str(explanation)
    else:
        text = json_text(explanation.to_dict(), indent=2 if form is _options.Format.JSON else None)
    write(f"{text}\n", output)


def _command(metric: "Metric") -> Any:
    """Return the command of a metric: its own parameters first, then what all metrics have."""

    def command(**options: Any) -> None:
        _query(metric=metric.name, **options)

    everywhere = inspect.signature(_query).parameters.values()
    shared = [one.replace(kind=one.KEYWORD_ONLY) for one in everywhere if one.kind is not one.VAR_KEYWORD]
    own = [_parameter(parameter) for parameter in metric.parameters]
    if any(column.interval for column in metric.columns):
        own.append(inspect.Parameter("intervals", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Intervals))
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    command.__doc__ = f"{metric.help}\n\n{metric.formula}\n\n{metric.citation}"
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(metric.name, cls=PlainCommand)(command)
    built = typer.main.get_command(app)
    built.name = metric.name
    built.needs = metric.needs  # type: ignore[attr-defined]
    return built


def _parameter(parameter: "Parameter") -> inspect.Parameter:
    from embstore.metrics.declaration.explain import flag_of, metavar_of

    is_repeatable = parameter.kind is tuple
    told = parameter.help
    if is_repeatable and "repeat" not in told:
        told = f"{told.rstrip('.')} (repeatable)."
    option = typer.Option(flag_of(parameter), help=told, metavar=metavar_of(parameter) or None)
    kind: Any = list[str] if is_repeatable else parameter.kind
    default: Any = list(parameter.default) or None if isinstance(parameter.default, tuple) else parameter.default
    kind = kind if default is not None else kind | None
    return inspect.Parameter(
        parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


class MetricGroup(PlainGroup):
    """The group of commands that are the metrics; the table is read when a metric is asked for.

    Other packages are looked for only where a metric is not built in, or all are listed.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all metrics."""
        from embstore.metrics import all_metrics

        return list(all_metrics()[0])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the help of each metric, and what is wrong with those that cannot be used."""
        from embstore.metrics import all_metrics

        metrics, refused = all_metrics()
        with formatter.section("Metrics"):
            formatter.write_dl([(metric.name, metric.help) for metric in metrics.values()])
        if refused:
            with formatter.section("Not usable"):
                for problem in refused:
                    formatter.write(f"{wrapped(problem, formatter.width, ' ' * formatter.current_indent)}\n")

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the metrics, or options, that begin like a word; packages are named, and none is imported."""
        from importlib.metadata import entry_points

        from typer._click.shell_completion import CompletionItem

        from ._completion import METRICS

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        names = dict.fromkeys([*METRICS, *(point.name for point in entry_points(group="embstore.metrics"))])
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a metric, or end with a message that says why there is none, and names the nearest."""
        from embstore.errors import EmbstoreError
        from embstore.metrics import get_metric

        try:
            return _command(get_metric(cmd_name))
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
    """Compute a metric for each space and layer. The options of a metric: embstore query METRIC --help."""
