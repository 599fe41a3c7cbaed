"""Load metrics that other packages declare in the entry point group ``embstore.metrics``, check
them, contain errors.

[project.entry-points."embstore.metrics"]
median-norm = "my_metrics:MEDIAN_NORM"

The entry point's name is the name of the metric, its object a :class:`~embstore.metrics.Metric`.
Entry points are read only when a metric that is not built in is requested, which imports that
plug-in alone, or when all metrics are listed.
"""

import functools
import importlib
import keyword
import math
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_args

from embstore.base.errors import EmbstoreError
from embstore.base.messages import printable
from embstore.base.space import Unit
from embstore.metrics.declaration import CALLER, Metric, Need, Result, rows_of

GROUP = "embstore.metrics"
COLUMN_TYPES = ("number", "integer", "string", "boolean", "array of numbers", "array of integers")
# Columns that rows have in addition to those of the metric.
RESERVED_COLUMNS = frozenset(
    (
        "store",
        "space",
        "model",
        "unit",
        "pooling",
        "template",
        "layer",
        "layer_name",
        "n",
        "reason",
        "where",
        "sample",
        "seed",
        "transform",
        "words",
        "words_sha256",
        "words_missing",
        "group",
        "by",
        "bins",
        "common",
        "space_2",
        "layer_2",
        "layer_name_2",
        "revision",
        "step",
        "revision_2",
        "step_2",
    )
)
# Options of every metric on the command line, and their names in Store.query.
RESERVED_PARAMETERS = frozenset(
    (
        "model",
        "models",
        "space",
        "spaces",
        "unit",
        "pooling",
        "template",
        "revision",
        "revisions",
        "layer",
        "layers",
        "where",
        "timeout",
        "memory",
        "sample",
        "seed",
        "transform",
        "transforms",
        "store",
        "format",
        "form",
        "output",
        "o",
        "csv_safe",
        "explain",
        "cache",
        "no_cache",
        "quiet",
        "help",
        "h",
        "metric",
        "self",
        "data",
        "by",
        "bins",
        "common",
    )
)
# Options of every metric that a metric may have itself, with a meaning of its own.
OWN_PARAMETERS = frozenset(("word", "words"))
# Parameters that embstore.query.inputs reads, and columns that it fills.
INPUT_PARAMETERS: dict[Need, tuple[str, ...]] = {
    "pairs": ("dataset", "missing"),
    "analogies": ("dataset", "missing", "case"),
    "lexicon": ("lexicon", "value", "pleasant", "unpleasant", "missing"),
    "word sets": ("missing",),
    "word contexts": ("missing",),
    "column": ("column",),
    "labels": ("label",),
}
INPUT_COLUMNS: dict[Need, tuple[str, ...]] = {
    "pairs": ("dataset",), "analogies": ("dataset",), "lexicon": ("lexicon",),
    "column": ("column",),
    "labels": ("label",),
}  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class PluginError(EmbstoreError):
    """A metric of another package cannot be used; the message names the package and the problem."""


def find_plugins() -> dict[str, list[EntryPoint]]:
    """Return the metrics that installed packages register, as name → entry points, without
    importing them.
    """
    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(
        entry_points(group=GROUP), key=lambda point: (point.name, _package_of(point))
    ):
        found.setdefault(point.name, []).append(point)
    return found


def load_plugin(name: str, points: list[EntryPoint], built_in: Mapping[str, Metric]) -> Metric:
    """Import a metric of another package; raise PluginError if it fails, is declared wrongly, or
    its name is taken.
    """
    subject = f"the metric {name!r} of {' and '.join(map(_package_of, points))}"
    if name in built_in:
        raise PluginError(f"{subject} is refused: embstore has a metric of that name. Rename it.")
    if len(points) > 1:
        raise PluginError(
            f"{subject} is refused: the name must be that of one package. Uninstall the others."
        )
    with _isolated(f"{subject} cannot be loaded from {points[0].value!r}"):
        metric = points[0].load()
    with _isolated(f"{subject} has a declaration that cannot be read"):
        wrong = problems(metric)
        if not wrong and metric.name != name:
            wrong = [f"its name is {metric.name!r}, and the entry point's {name!r}"]
        if wrong:
            raise PluginError(f"{subject} is declared wrongly: {'; '.join(wrong)}.")
    return _guarded(metric, subject, _package_of(points[0]))


def guard_own(metric: object, built_in: Mapping[str, Metric]) -> Metric:
    """Check a metric that a caller gives as an object, whose failures become PluginErrors too.

    Its package is :data:`CALLER` if it has none. Raise PluginError if it is no valid metric, or if
    its name is taken.
    """
    if wrong := problems(metric):
        raise PluginError(f"the metric given as an object is declared wrongly: {'; '.join(wrong)}.")
    assert isinstance(metric, Metric)
    if metric.package is not None:
        return metric
    subject = f"the metric {metric.name!r}"
    if metric.name in built_in:
        raise PluginError(
            f"{subject} is refused: embstore has another metric of that name. Rename it."
        )
    return _guarded(metric, subject, CALLER)


def load_plugins(built_in: Mapping[str, Metric]) -> tuple[dict[str, Metric], list[str]]:
    """Return the usable metrics of other packages by name, and an error message for each that is
    not usable.
    """
    metrics, refused = {}, []
    for name, points in find_plugins().items():
        try:
            metrics[name] = load_plugin(name, points, built_in)
        except PluginError as error:
            refused.append(str(error))
    return metrics, refused


def _package_of(point: EntryPoint) -> str:
    """Return the name and version of the package that registers an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _guarded(metric: Metric, subject: str, package: str) -> Metric:
    """Return a metric of a package whose rows are checked, and whose failures are PluginErrors
    about ``subject``.
    """
    drawn = metric.drawn

    @functools.wraps(metric.function)
    def function(*data: Any, **inputs: Any) -> list[Result]:
        with _isolated(f"{subject} failed"):
            result = metric.function(*data, **inputs)
            rows = rows_of(result) if isinstance(result, dict | list | tuple) else [result]
            if wrong := [type(row).__name__ for row in rows if not isinstance(row, dict)]:
                raise PluginError(
                    f"{subject} must return a dict of its columns, or a list of such, not"
                    f" {wrong[0]}."
                )
            return [_check_row(metric, row, subject) for row in rows]

    def describe(row: Mapping[str, Any]) -> str:
        assert drawn is not None
        with _isolated(f"{subject} failed"):
            return str(drawn(row))

    return replace(
        metric, package=package, function=function, drawn=None if drawn is None else describe
    )


def _check_row(metric: Metric, row: Result, subject: str) -> Result:
    """Check the columns and types of a row; convert NumPy values to Python's, non-finite ones to
    None with a reason.
    """
    filled_later = INPUT_COLUMNS.get(metric.needs, ())
    required = [*(column.name for column in metric.columns if column.name not in filled_later), "n"]
    if missing := [name for name in required if name not in row]:
        raise PluginError(f"{subject} returned a row without {', '.join(map(repr, missing))}.")
    allowed = (*required, "reason", *(["seed"] if metric.is_seeded else []))
    if undeclared := [name for name in row if name not in allowed]:
        names = ", ".join(map(repr, undeclared))
        raise PluginError(f"{subject} returned {names}, which it does not declare as a column.")
    values: Iterable[tuple[str, Any]] = row.items()
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in values}
    for name, kind in [
        *((column.name, column.type) for column in metric.columns),
        ("seed", "integer"),
    ]:
        if not _has_type(kind, plain.get(name)):
            raise PluginError(
                f"{subject} returned {plain[name]!r} in {name!r}, which is no {kind}."
            )
    not_finite = [name for name, value in plain.items() if not _is_finite(value)]
    reason = row.get("reason") or (
        f"{' and '.join(not_finite)}: not a finite number" if not_finite else None
    )
    return plain | dict.fromkeys(not_finite) | {"reason": reason}


def _has_type(kind: str, value: Any) -> bool:
    """Return whether a value is None or of a JSON type, given as in :class:`Column`."""
    if value is None:
        return True
    if kind.startswith("array of "):
        kind = kind.removeprefix("array of ").removesuffix("s")
        return isinstance(value, list) and all(_has_type(kind, element) for element in value)
    if kind in ("string", "boolean"):
        return isinstance(value, str if kind == "string" else bool)
    return isinstance(value, int | float if kind == "number" else int) and not isinstance(
        value, bool
    )


def _is_finite(value: Any) -> bool:
    """Return whether a value, or every element of a list, is no float or a finite one."""
    elements = value if isinstance(value, list) else [value]
    return all(math.isfinite(element) for element in elements if isinstance(element, float))


def problems(metric: object) -> list[str]:
    """Return the problems of a declaration, one line each; an empty list if it is valid."""
    if not isinstance(metric, Metric):
        return [f"it is no embstore.metrics.Metric but a {type(metric).__name__}"]
    found: dict[str, None] = {}
    try:
        for checks in (
            _checks_of_texts(metric),
            _checks_of_columns(metric),
            _checks_of_parameters(metric),
        ):
            found |= dict.fromkeys(problem for is_wrong, problem in checks if is_wrong)
    except (TypeError, AttributeError) as error:
        return [*found, f"its columns or parameters cannot be read: {error}"]
    return [*found]


def _checks_of_texts(metric: Metric) -> Iterator[tuple[bool, str]]:
    """Yield whether a text, a choice or the function of a metric is wrong, and what it must be."""
    for field in ("name", "help", "formula", "citation"):
        text = getattr(metric, field)
        is_line = isinstance(text, str) and len(text.split()) > 0 and "\n" not in text.strip()
        yield not is_line, f"its {field} must be one line of text, not {text!r}"
    for field in ("estimator", "elsewhere"):
        yield not isinstance(getattr(metric, field), str), f"its {field} must be a text"
    entries = metric.references
    is_list = isinstance(entries, tuple) and all(isinstance(entry, str) for entry in entries)
    yield not is_list, "its references must be a tuple of keys or BibTeX entries"
    likeness = "its name must be like 'effective-rank' (lower case, digits, hyphens)"
    yield (
        isinstance(metric.name, str) and not _NAME.fullmatch(metric.name),
        f"{likeness}, not {metric.name!r}",
    )
    yield (
        metric.needs not in get_args(Need),
        f"its needs must be one of {', '.join(get_args(Need))}",
    )
    yield (
        not {*metric.units} <= {*Unit},
        f"its units must be of {', '.join(Unit)}, not {metric.units!r}",
    )
    yield (
        not callable(metric.function),
        f"its function must be callable, not a {type(metric.function).__name__}",
    )
    texts = [metric.help, metric.formula, metric.citation, metric.estimator, metric.elsewhere]
    texts += [text for column in metric.columns for text in (column.help, column.unit) if text]
    texts += [
        text
        for entry in metric.parameters
        for text in (entry.help, entry.metavar, *entry.choices)
        if text
    ]
    unsafe = next(
        (text for text in texts if isinstance(text, str) and printable(text, lines=True) != text),
        None,
    )
    yield (
        unsafe is not None,
        f"it has control characters in {unsafe!r}",
    )  # could change what a terminal shows


def _checks_of_columns(metric: Metric) -> Iterator[tuple[bool, str]]:
    """Yield whether a column is wrong, and how: its name, its type, or that ``best`` or the input
    needs another.
    """
    names, types = (
        [column.name for column in metric.columns],
        {column.name: column.type for column in metric.columns},
    )
    for column in metric.columns:
        subject = f"its column {column.name!r}"
        yield not _IDENTIFIER.fullmatch(column.name), f"{subject} must have a name like 'top_share'"
        yield names.count(column.name) > 1, f"{subject} is there twice"
        yield not column.help, f"{subject} has no help"
        yield (
            column.name in RESERVED_COLUMNS,
            f"{subject} has the name of a column that every row has",
        )
        kinds = ", ".join(COLUMN_TYPES)
        yield (
            column.type not in COLUMN_TYPES,
            f"{subject} must be one of {kinds}, not {column.type!r}",
        )
    yield (
        not any(column.shown and not column.is_key for column in metric.columns),
        "it has no column to show",
    )
    has_best = metric.best is None or (types.get(metric.best), types.get("best")) == (
        "number",
        "boolean",
    )
    yield not has_best, "its best must name a column of numbers, beside a boolean column 'best'"
    keys = [column.name for column in metric.columns if column.is_key]
    for name in INPUT_COLUMNS.get(metric.needs, ()):
        yield name not in keys, f"it needs {metric.needs}, and so a column {name!r} that is a key"


def _checks_of_parameters(metric: Metric) -> Iterator[tuple[bool, str]]:
    """Yield whether a parameter is wrong, and how: its name, its type, or that the input needs
    another.
    """
    names = [parameter.name for parameter in metric.parameters]
    for parameter in metric.parameters:
        subject, name = f"its parameter {parameter.name!r}", parameter.name
        is_name = _IDENTIFIER.fullmatch(name) and not keyword.iskeyword(name)
        yield not is_name, f"{subject} must have a name like 'min_contexts'"
        yield names.count(name) > 1, f"{subject} is there twice"
        yield not parameter.help, f"{subject} has no help"
        taken = RESERVED_PARAMETERS | (
            (RESERVED_COLUMNS - OWN_PARAMETERS) if parameter.is_in_rows else frozenset()
        )
        yield (
            name in taken,
            (
                f"{subject} has the name of an option that every metric has, or of a column of"
                " every row"
            ),
        )
        kinds = "int, float, str, bool or tuple"
        yield (
            parameter.kind not in (int, float, str, bool, tuple),
            f"{subject} must have a default of type {kinds}",
        )
    for name in INPUT_PARAMETERS.get(metric.needs, ()):
        likeness = f"a parameter {name!r} like that of embstore's own metrics"
        yield name not in names, f"it needs {metric.needs}, and so {likeness}"


@contextmanager
def _isolated(failure: str) -> Iterator[None]:
    """Convert an exception raised in the context, SystemExit too, into a PluginError that begins
    with ``failure``.

    embstore's own errors pass unchanged, and so does KeyboardInterrupt: Ctrl-C ends the command.
    """
    try:
        yield
    except (EmbstoreError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{failure}: {_describe(error)}{_source_line(error)}") from error


def _source_line(error: BaseException) -> str:
    """Return the file and line of the package's code in the traceback of an error; empty if there
    is none.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    lines = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    other_code = (str(Path(__file__).parents[1]), "<frozen", str(Path(importlib.__file__).parent))
    package_lines = [(file, line) for file, line in lines if not file.startswith(other_code)]
    if not package_lines:
        return ""
    first_file = package_lines[0][0]
    return (
        f" ({first_file}, line {[line for file, line in package_lines if file == first_file][-1]})"
    )


def _describe(error: BaseException) -> str:
    """Return the type and message of an exception; the type alone if there is no message or it
    cannot be read.
    """
    name = type(error).__name__
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException as unreadable:
        return f"{name}, whose text cannot be read ({type(unreadable).__name__})"
    return f"{name}: {text}" if text else name
