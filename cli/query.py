"""``embstore query``: one command per metric, made from the parameters of the metric."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option, Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from embstore.base.errors import UsageError
from embstore.base.labels import read_labels

from ._errors import print_message, register_options
from ._groups import (
    Arguments,
    as_arguments,
    conditions,
    filters,
    keyword_options,
    opened_store,
    plain_output,
    with_groups,
    with_parameters,
)
from ._options import (
    ALL,
    Bins,
    By,
    Common,
    Fit,
    Format,
    Labels,
    Layers,
    Named,
    NoCache,
    Sample,
    Seed,
    Transforms,
    check_order,
    divided,
    escape,
    examples,
    known_datasets,
    output_option,
)
from ._output import Output, json_text, write

if TYPE_CHECKING:
    from embstore.base.table import Table
    from embstore.metrics import Metric, Parameter
    from embstore.store import Store


@with_groups(chosen=filters, items=conditions)
def selection(
    *,
    chosen: Arguments,
    layers: Layers = ALL,
    items: Arguments,
    sample: Sample = None,
    seed: Seed = 0,
    transforms: Transforms = None,
    by: By = None,
    bins: Bins = None,
    fit: Fit = None,
    common: Common = False,
    **parameters: Any,
) -> Arguments:
    """Return the options that choose spaces, layers and items as arguments of
    :meth:`Store.query`, with the parameters of the metric.
    """
    return as_arguments(locals())


def _rows(flag: str, text: str) -> Any:
    """Return an option that is a number of rows."""
    return output_option(flag, metavar="N", min=1, help=text)


@with_groups(opened=opened_store, out=plain_output)
def _query(
    metric: "Metric",
    /,
    *,
    named: Named = None,
    intervals: Annotated[
        Literal["columns", "inline"] | None,
        output_option(
            "--intervals",
            help="In a printed table: columns of their own, or value \\[low, high].",
            show_default="columns",
        ),
    ] = None,
    labels: Labels = None,
    lowest: Annotated[
        int | None,
        _rows(
            "--lowest",
            "Give the N rows with the lowest values, of all spaces and layers, by the column that"
            " plot draws.",
        ),
    ] = None,
    highest: Annotated[
        int | None, _rows("--highest", "Give the N rows with the highest values.")
    ] = None,
    explain: Annotated[
        bool,
        output_option(
            "--explain",
            help=(
                "Explain the metric, and compute nothing; formula, citation, estimator, columns and"
                " options, and which answers are stored."
            ),
        ),
    ] = False,
    no_cache: NoCache = False,
    opened: "Store",
    out: Output,
    **selected: Any,
) -> None:
    printed = (Format.TABLE, Format.MARKDOWN, Format.LATEX)
    unprinted = next((target.form for target in out.targets if target.form not in printed), None)
    if unprinted and (intervals == "inline" or labels):
        option, stays = (
            ("--space-label", "spaces by name")
            if labels
            else ("--intervals inline", "low and high in columns")
        )
        raise UsageError(
            f"{option} is for table, markdown and latex: {unprinted} has {stays}. Leave it out."
        )
    if labels:
        read_labels(labels)  # whose mistakes are found before anything is computed
    if lowest and highest:
        raise UsageError("--lowest or --highest: a result has one order.")
    selected["models"] = [*(selected["models"] or ()), *(named or ())]
    if explain:
        explanation = opened.explain_query(metric.name, cache=not no_cache, **selection(**selected))
        _write_explanation(explanation, out)
        return
    with out.progress():
        answers: Table = opened.query(metric.name, cache=not no_cache, **selection(**selected))
    if highest:
        answers = answers.highest(highest)
    if lowest:
        answers = answers.lowest(lowest)
    if intervals == "inline":
        answers = answers.inline_intervals()
    out.emit(answers, labels or ())


def _write_explanation(explanation: Any, out: Output) -> None:
    for form, _ in out.targets:
        if form not in (Format.TABLE, Format.JSON, Format.JSONL):
            raise UsageError(f"--explain is written as table (text), json or jsonl, not as {form}.")
    for form, file in out.targets:
        if form is Format.TABLE:
            text = str(explanation)
        else:
            text = json_text(explanation.to_dict(), indent=2 if form is Format.JSON else None)
        write(f"{text}\n", file, is_data=form is not Format.TABLE)


def metric_command(
    metric: "Metric", run: Callable[..., None], shared: Sequence[inspect.Parameter]
) -> Any:
    """Return the command of a metric: its own parameters, and options that all metrics have."""
    parameters = {parameter.name: _parameter(parameter) for parameter in metric.parameters}
    taken = {*parameters, *(["quiet"] if "q" in parameters else [])}  # -q is that of the metric
    others = [parameter for parameter in shared if parameter.name not in taken]
    if metric.compares_layers:  # of which the query says what is meant
        hidden = Annotated[str | None, Option("--versus", hidden=True)]
        kind = inspect.Parameter.KEYWORD_ONLY
        others.append(inspect.Parameter("versus", kind, default=None, annotation=hidden))
        others = [option for option in others if option.name not in ("lowest", "highest")]
    if not any(column.limits for column in (*metric.columns, *metric.optional)):
        others = [parameter for parameter in others if parameter.name != "intervals"]

    app = Typer(add_completion=False)
    app.command(
        metric.name,
        help=escape(f"{metric.help}\n\n{metric.formula}\n\n{metric.citation}"),
        epilog=_examples(metric),
    )(with_parameters(partial(run, metric), [*parameters.values(), *others]))
    return get_command(app)


_OF_NAMES = ("dataset", "word")
"""Repeatable parameters of metrics whose values may stand in one, with commas; texts have some."""


def _parameter(parameter: "Parameter") -> inspect.Parameter:
    """Return a parameter of a metric as one of Typer."""
    text = parameter.help
    kind: Any = parameter.kind
    default: Any = parameter.default
    if kind is tuple:
        kind, default = list[str], list(default) or None
        if "repeat" not in text:
            commas = ", or with commas" if parameter.name in _OF_NAMES else ""
            text = f"{text.rstrip('.')} (repeatable{commas})."

    def completed() -> list[str]:
        is_dataset = parameter.name in ("dataset", "lexicon")
        return known_datasets() if is_dataset else [*parameter.choices]

    flag = parameter.flag
    option = Option(
        flag,
        *([f"-{flag}"] if len(flag) == 2 else ()),
        help=escape(text),
        metavar=parameter.metavar or "|".join(parameter.choices) or None,
        min=parameter.minimum,
        max=parameter.maximum,
        callback=divided if parameter.name in _OF_NAMES else None,
        autocompletion=completed,
    )
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind if default is not None else kind | None, option],
    )


_EXAMPLES = {
    "pairs": "--dataset rg65 --layer 0,6,top",
    "analogies": "--dataset google --layer top",
    "lexicon": "--lexicon bellezza --layer top",
    "layers": "--space gpt2.word.last",
    "contexts": "--space gpt2.occurrence.last --sample 10000",
    "neighbours": "--space gpt2.word.last --sample 10000",
    "column": "--column zipf_frequency --value hubness",
    "labels": "--label pos --layer 0,6,top",
    "weat": "-x rose,tulip,daisy,lily -y wasp,ant,flea,spider",
    "ceat": "-x rose,tulip,daisy -y wasp,ant,flea",
    "sc-weat": "--word rose --word wasp",
    "axis": "--positive good,happy --negative bad,sad",
    "change": "--by year",
}
"""Options of an example, by the name of a metric or by what it needs."""


def _examples(metric: "Metric") -> str:
    options = _EXAMPLES.get(metric.name) or _EXAMPLES.get(metric.needs, "--model gpt2 --layer 0,6")
    return examples("reference/metrics.md", f"embstore query {metric.name} {options}")


class MetricGroup(TyperGroup):
    """The group of commands that are the metrics; the table is read when a metric is called.

    Other packages are looked for only where a metric is not built in, or all are listed.
    """

    def command_of_metric(self, metric: "Metric") -> Any:
        """Return the command of a metric."""
        return metric_command(
            metric, _query, [*keyword_options(selection), *keyword_options(_query)]
        )

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all metrics, and of the other commands."""
        from embstore.metrics import all_metrics

        return [*dict.fromkeys([*self.commands, *all_metrics()[0]])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, of a metric with its help alone."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        from embstore.metrics import get_metric

        text = escape(get_metric(cmd_name).help)
        return TyperCommand(cmd_name, help=text, rich_help_panel="Metrics")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the metric."""
        check_order(ctx, args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name of a command, the command with its options, and its arguments."""
        name, *rest = args
        if name in self.commands:
            return name, self.commands[name], rest
        from embstore.metrics import METRICS, get_metric

        from .main import COMMANDS  # which loads this module

        if name not in METRICS and any(name in commands for commands in COMMANDS.values()):
            raise UsageError(f"{name} is not a metric but a command: embstore {join(args)}")

        command = self.command_of_metric(get_metric(name))
        register_options(command)
        return name, command, rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, and what is wrong with the metrics that cannot be used."""
        from embstore.metrics import all_metrics

        super().format_help(ctx, formatter)
        for problem in all_metrics()[1]:
            print_message(problem)


app = Typer()
_metrics = Typer(cls=MetricGroup, no_args_is_help=True, subcommand_metavar="METRIC ...")


@_metrics.callback(
    epilog=examples(
        "how-to/query.md",
        "embstore query anisotropy --model gpt2 --layer 0,6,top",
        "embstore query similarity --dataset rg65 --csv",
    )
)
def query() -> None:
    """Compute a metric for each space and layer. The options of a metric: embstore query METRIC
    --help.
    """


app.add_typer(_metrics, name="query")
