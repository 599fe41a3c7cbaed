"""``embstore query``: one command per metric, made from the table of metrics."""

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ._errors import MISTAKE, explained
from ._options import (
    LAYER_HELP,
    Format,
    Models,
    OutputFile,
    OutputFormat,
    PoolingName,
    Spaces,
    StoreDir,
    TemplateText,
    UnitName,
)  # fmt: skip
from ._output import emit, say

if TYPE_CHECKING:
    from embstore.metrics import Metric, Parameter


def _query(
    model: Models = None,
    space: Spaces = None,
    unit: UnitName = None,
    pooling: PoolingName = None,
    template: TemplateText = None,
    layer: Annotated[str, typer.Option("--layer", metavar="LAYERS", help=LAYER_HELP)] = "all",
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="SQL",
            help='Keep the items for which this holds, over item_id, unit, text, context_id, start and "end": '
            '--where "length(text) > 3".',
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="Draw N items at random, without replacement.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Seed of the draw.")] = 0,
    store: StoreDir = None,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
    **parameters: Any,
) -> None:
    metric = parameters.pop("metric")
    with explained():
        from embstore.store import Store

        result = Store(store).query(
            metric, models=model or (), spaces=space or (), unit=unit, pooling=pooling, template=template, layers=layer,
            where=where, sample=sample, seed=seed, **parameters,
        )  # fmt: skip
        emit(result, form, output)


def _command(metric: "Metric") -> Any:
    """Return the command of a metric: its own parameters first, then what all metrics have."""

    def command(**options: Any) -> None:
        _query(metric=metric.name, **options)

    shared = [p for p in inspect.signature(_query).parameters.values() if p.kind is not p.VAR_KEYWORD]
    own = [_parameter(parameter) for parameter in metric.parameters]
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    command.__doc__ = f"{metric.help}\n\n{metric.formula}\n\n{metric.citation}"
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(metric.name)(command)
    built = typer.main.get_command(app)
    built.name = metric.name
    return built


def _parameter(parameter: "Parameter") -> inspect.Parameter:
    flag = f"-{parameter.name}" if len(parameter.name) == 1 else f"--{parameter.name.replace('_', '-')}"
    metavar = "|".join(parameter.choices) or ("N" if isinstance(parameter.default, int) else None)
    option = typer.Option(flag, help=parameter.help, metavar=metavar)
    kind: Any = type(parameter.default)
    annotation = Annotated[kind, option]
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=parameter.default,
        annotation=annotation,
    )


class MetricGroup(TyperGroup):
    """The group of commands that are the metrics; the table is read when a metric is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all metrics."""
        from embstore.metrics import METRICS

        return list(METRICS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a metric, or end with a message that names the nearest."""
        from embstore.errors import UnknownNameError
        from embstore.metrics import get_metric

        try:
            return _command(get_metric(cmd_name))
        except UnknownNameError as error:
            say(f"embstore: {error}")
            raise typer.Exit(MISTAKE) from None


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
