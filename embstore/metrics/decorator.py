"""Declare a metric by decorating its function."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from embstore.metrics.data import Words
from embstore.metrics.declaration import WORDS, Column, Metric, Need, Parameter, Result
from embstore.metrics.inputs import AGAINST, NEEDED_COLUMNS, NEEDED_PARAMETERS, Option
from embstore.metrics.parts import Parts
from embstore.metrics.significance import AVERAGE, PERMUTATIONS, VERSUS, parameters_of_parts

AVERAGED: tuple[Need, ...] = ("summary", "vectors", "neighbours", "order")
"""Needs of the metrics of a set of vectors, which can be averaged over groups."""


def metric(
    *,
    columns: tuple[Column, ...],
    formula: str,
    citation: str,
    name: str | None = None,
    needs: Need = "vectors",
    best: str | None = None,
    estimator: str = "",
    options: tuple[Parameter, ...] = (),
    versus: bool = False,
    parts: Parts | None = None,
    **declared: Any,
) -> Callable[[Callable[..., Result | list[Result]]], Metric]:
    """Make a function a metric.

    The first paragraph of the function's docstring is the help text, the others, up to a section
    such as ``Raises``, are the estimator. Its keyword-only arguments whose annotation contains an
    :class:`Option` are the metric's parameters.

    Args:
        columns: Columns other than ``n``, ``reason``, ``best`` and those of the parameters and of
            the input.
        formula: Formula, in one line.
        citation: Source of the definition.
        name: Name; by default that of the function, with hyphens.
        needs: Input of the function, whose parameters and columns are added.
        best: Column whose highest value marks the best layer of a space.
        estimator: More sentences for the estimator.
        options: Parameters that the query reads, instead of the function.
        versus: Whether to add the parameter that tests differences between layers: the rows
            have an estimate; see :func:`~embstore.metrics.with_scores`.
        parts: How the query estimates the error of a number of a set of vectors; adds the
            parameters ``ci`` and ``versus``.
        declared: Other attributes of :class:`Metric`.
    """

    def declare(function: Callable[..., Result | list[Result]]) -> Metric:
        help, text = _paragraphs(function)
        parameters = [*NEEDED_PARAMETERS.get(needs, ()), *options, *_own_parameters(function)]
        if needs == "layers":
            parameters += [AGAINST, *(PERMUTATIONS if declared.get("similarity") else ())]
        if versus:
            parameters.append(_versus(best))
        elif needs in AVERAGED:
            taken = {parameter.name for parameter in parameters}
            added = AVERAGE if parts is None else parameters_of_parts(parts)
            parameters += [option for option in added if option.name not in taken]
        return Metric(
            name=name or function.__name__.replace("_", "-"),
            help=help,
            function=function,
            columns=(*NEEDED_COLUMNS.get(needs, ()), *columns, *best_columns(best)),
            parameters=tuple(parameters),
            formula=formula,
            citation=citation,
            needs=needs,
            estimator=f"{text} {estimator}".strip(),
            best=best,
            parts=parts,
            **declared,
        )

    return declare


def _paragraphs(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the first paragraph of a docstring, and the others up to a section, each one line."""
    docstring = inspect.getdoc(function) or ""
    for section in ("Args:", "Returns:", "Raises:"):
        docstring = docstring.partition(f"\n\n{section}\n")[0]
    help, _, text = docstring.partition("\n\n")
    return " ".join(help.split()), " ".join(text.split())


def _own_parameters(function: Callable[..., Any]) -> list[Parameter]:
    """Return the parameters that a function's signature declares."""
    return [
        _parameter(argument)
        for argument in inspect.signature(function, eval_str=True).parameters.values()
        if get_origin(argument.annotation) is Annotated
    ]


def _parameter(argument: inspect.Parameter) -> Parameter:
    kind, *metadata = get_args(argument.annotation)
    [option] = [entry for entry in metadata if isinstance(entry, Option)]
    if get_origin(kind) in (Union, UnionType):
        [kind] = [member for member in get_args(kind) if member is not NoneType]
    default = None if argument.default is argument.empty else argument.default
    settings: dict[str, Any] = {"value_type": get_origin(kind) or kind}
    if get_origin(kind) is Literal:
        settings = {"value_type": str, "choices": get_args(kind)}
    elif kind is Words:
        settings = {"value_type": str, "metavar": WORDS, "is_input": True, "in_rows": True}
    return Parameter(argument.name, default, **{**settings, **option.settings})


def _versus(best: str | None) -> Parameter:
    if best is not None:
        return VERSUS
    return replace(
        VERSUS,
        metavar="LAYER|SPACE|SPACE:LAYER",
        help=(
            "Test each layer against a layer of its space, or against the same layer of another"
            " space (its only one, or SPACE:LAYER)."
        ),
    )


def best_columns(column: str | None) -> tuple[Column, ...]:
    """Return the column that marks the best layer by another column; none for None."""
    if column is None:
        return ()
    help = f"whether {column} is the highest of the requested layers of the space, of each group"
    return (Column("best", "boolean", help),)
