"""Check declarations of metrics, from which options, tables, help and schemas are generated."""

import inspect
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

from embstore.base.errors import EmbstoreError
from embstore.base.escape import printable
from embstore.base.space import Unit
from embstore.metrics.declaration.spec import Column, Metric, Need, Parameter

COLUMN_TYPES = ("number", "integer", "string", "boolean", "array of numbers", "array of integers")
# Columns that rows have in addition to those of the metric.
RESERVED_COLUMNS = frozenset(
    ("store", "space", "model", "unit", "pooling", "template", "layer", "layer_name", "n", "reason", "where", "sample",
     "seed", "transform", "words", "words_missing", "group", "by", "bins",
     "space_2", "layer_2", "layer_name_2", "revision", "step", "revision_2", "step_2")
)  # fmt: skip
# Options of every metric on the command line, and their names in Store.query.
RESERVED_PARAMETERS = frozenset(
    ("model", "models", "space", "spaces", "unit", "pooling", "template", "revision", "revisions", "layer",
     "layers", "where", "timeout", "memory", "sample", "seed", "transform", "transforms", "store", "format",
     "form", "output", "o", "csv_safe", "explain", "cache", "no_cache", "quiet", "help", "h", "metric", "self", "data",
     "by", "bins")
)  # fmt: skip
# Options of every metric that a metric may have itself, with a meaning of its own.
OWN_PARAMETERS = frozenset(("word", "words"))
# Parameters that embstore.query.inputs reads, and columns that it fills.
INPUT_PARAMETERS: dict[Need, tuple[str, ...]] = {
    "pairs": ("dataset", "missing"),
    "analogies": ("dataset", "missing", "case"),
    "lexicon": ("lexicon", "value", "pleasant", "unpleasant", "missing"),
    "word sets": ("a", "b", "missing"),
    "column": ("column",),
}
INPUT_COLUMNS: dict[Need, tuple[str, ...]] = {
    "pairs": ("dataset",), "analogies": ("dataset",), "lexicon": ("lexicon",), "column": ("column",),
}  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KINDS = (int, float, str, bool, tuple)


def problems(metric: object) -> list[str]:
    """Return the problems of a declaration, one line each; an empty list if it is valid."""
    if not isinstance(metric, Metric):
        return [f"it is no embstore.metrics.Metric but {_type_name(metric)}"]
    found = list(_text_problems(metric))
    try:
        found += [*_column_problems(metric.columns), *_parameter_problems(metric.parameters)]
        found += [*_best_problems(metric), *_input_problems(metric), *_character_problems(metric)]
    except (TypeError, AttributeError) as error:
        return [*found, f"its columns or parameters cannot be read: {error}"]
    return found or list(_function_problems(metric))


def _text_problems(metric: Metric) -> Iterator[str]:
    """Yield the problems of the name, the texts, the references, the input and the units of a metric."""
    for field in ("name", "help", "formula", "citation", "estimator"):
        value = getattr(metric, field)
        if not isinstance(value, str) or not (value.strip() or field == "estimator"):
            yield f"its {field} must be a non-empty text, not {value!r}"
        elif field != "estimator" and "\n" in value.strip():
            yield f"its {field} must be one line"
    if not isinstance(metric.references, tuple) or not all(isinstance(entry, str) for entry in metric.references):
        yield f"its references must be a tuple of BibTeX entries, not {metric.references!r}"
    if isinstance(metric.name, str) and not _NAME.fullmatch(metric.name):
        yield f"its name must be like 'effective-rank' (lower case, digits, hyphens), not {metric.name!r}"
    if metric.needs not in get_args(Need):
        yield f"its needs must be one of {', '.join(get_args(Need))}, not {metric.needs!r}"
    if bad := [unit for unit in metric.units if unit not in tuple(Unit)]:
        yield f"its units must be of {', '.join(Unit)}, not {bad[0]!r}"


def _column_problems(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the problems of columns: names, types, help and ranges."""
    names = [column.name for column in columns]
    yield from _duplicate_problems("column", names)
    for column in columns:
        subject = f"its column {column.name!r}"
        if not isinstance(column.name, str) or not _IDENTIFIER.fullmatch(column.name):
            yield f"{subject} must have a name like 'top_share'"
        elif column.name in RESERVED_COLUMNS:
            yield f"{subject} has the name of a column that every row has"
        if column.type not in COLUMN_TYPES:
            yield f"{subject} must be one of {', '.join(COLUMN_TYPES)}, not {column.type!r}"
        if not column.help:
            yield f"{subject} has no help"
        if None not in (column.minimum, column.maximum) and column.minimum > column.maximum:  # type: ignore[operator]
            yield f"{subject} has its minimum above its maximum"
    if not any(column.shown and not column.is_key for column in columns):
        yield "it has no column to show"


def _character_problems(metric: Metric) -> Iterator[str]:
    """Yield a problem for the first text with control characters, which could change what a terminal shows."""
    texts = [metric.help, metric.formula, metric.citation, metric.estimator, metric.elsewhere]
    texts += [text for column in metric.columns for text in (column.help, column.unit) if text]
    texts += [text for entry in metric.parameters for text in (entry.help, entry.metavar, *entry.choices) if text]
    for text in texts:
        if isinstance(text, str) and printable(text, lines=True) != text:
            yield f"it has control characters in {text!r}"
            return


def _best_problems(metric: Metric) -> Iterator[str]:
    """Yield the problem of ``best``: it needs a column of numbers and a boolean column."""
    types = {column.name: column.type for column in metric.columns}
    if metric.best is not None and (types.get(metric.best), types.get("best")) != ("number", "boolean"):
        yield "its best must name a column of numbers, beside a boolean column 'best'"


def _parameter_problems(parameters: Sequence[Parameter]) -> Iterator[str]:
    """Yield the problems of parameters: names, help, types, choices, ranges and defaults."""
    yield from _duplicate_problems("parameter", [parameter.name for parameter in parameters])
    for parameter in parameters:
        subject = f"its parameter {parameter.name!r}"
        if not isinstance(parameter.name, str) or not _is_parameter_name(parameter.name):
            yield f"{subject} must have a name like 'min_contexts'"
        elif parameter.name in RESERVED_PARAMETERS:
            yield f"{subject} has the name of an option that every metric has"
        elif parameter.name in RESERVED_COLUMNS - OWN_PARAMETERS:
            yield f"{subject} has the name of a column that every row has"
        if not parameter.help:
            yield f"{subject} has no help"
        if parameter.kind not in _KINDS:
            yield f"{subject} must have a default of type int, float, str, bool or tuple, or a value_type"
            continue
        if parameter.choices and parameter.kind not in (str, tuple):
            yield f"{subject} has choices, which only a str or a tuple of them can have"
            continue
        if (parameter.minimum, parameter.maximum) != (None, None) and parameter.kind not in (int, float):
            yield f"{subject} has a range, which only a number can have"
            continue
        yield from _default_problems(subject, parameter)


def _input_problems(metric: Metric) -> Iterator[str]:
    """Yield the parameters and key columns that a metric with this input must have, and lacks."""
    names = [parameter.name for parameter in metric.parameters]
    columns = [column.name for column in metric.columns if column.is_key]
    for name in INPUT_PARAMETERS.get(metric.needs, ()):
        if name not in names:
            yield f"it needs {metric.needs}, and so a parameter {name!r} like that of embstore's own metrics"
    for name in INPUT_COLUMNS.get(metric.needs, ()):
        if name not in columns:
            yield f"it needs {metric.needs}, and so a column {name!r} that is a key"


def _is_parameter_name(name: str) -> bool:
    """Return whether a name is in lower case and no keyword of Python."""
    return bool(_IDENTIFIER.fullmatch(name)) and not keyword.iskeyword(name)


def _default_problems(subject: str, parameter: Parameter) -> Iterator[str]:
    """Yield the problem of a default that is not a valid value of its parameter; messages begin with ``subject``."""
    default = parameter.default
    if default is None or parameter.kind in (bool, tuple):
        return
    if not isinstance(default, int | float if parameter.kind is float else parameter.kind):
        yield f"{subject} is {parameter.kind.__name__}, and its default {default!r} is not"
        return
    try:
        replace(parameter, default=None, value_type=parameter.kind).check(default)
    except EmbstoreError as error:
        yield f"{subject} has a default that it refuses: {error}"


def _function_problems(metric: Metric) -> Iterator[str]:
    """Yield the parameters that the function does not take; a function without a signature (in C) is not checked."""
    if not callable(metric.function):
        yield f"its function must be callable, not {_type_name(metric.function)}"
        return
    try:
        accepted = inspect.signature(metric.function).parameters.values()
    except (TypeError, ValueError):
        return
    if any(argument.kind is argument.VAR_KEYWORD for argument in accepted):
        return
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {argument.name for argument in accepted if argument.kind in by_keyword}
    for parameter in metric.parameters:
        if not parameter.is_input and parameter.name not in names:
            yield f"its function does not take the parameter {parameter.name!r} by keyword"


def _duplicate_problems(kind: str, names: Sequence[str]) -> Iterator[str]:
    """Yield a problem for each name that occurs twice, given a noun for what has the names."""
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"it has the {kind} {name!r} twice"


def _type_name(value: object) -> str:
    """Return the type of a value with an article, for messages."""
    return f"a {type(value).__name__}"
