"""Load metrics that other packages declare in the entry point group ``embstore.metrics``, check
them, contain errors.

[project.entry-points."embstore.metrics"]
median-norm = "my_metrics:median_norm"

The entry point's name is the name of the metric, its object a function that
:func:`embstore.metrics.metric` decorates. Entry points are read only when a metric that is not
built in is requested, which imports that plug-in alone, or when all metrics are listed.
"""

import functools
import json
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

import numpy as np

from embstore.base.errors import EmbstoreError
from embstore.metrics.declaration import CALLER, Metric, Need, Result, rows_of
from embstore.metrics.inputs import NEEDED_COLUMNS

GROUP = "embstore.metrics"
COLUMN_TYPES = (
    "number",
    "integer",
    "string",
    "boolean",
    *(f"array of {kind}s" for kind in ("number", "integer", "string")),
)
# Columns that rows have in addition to those of the metric.
RESERVED_COLUMNS = frozenset((
    "store", "space", "model", "unit", "pooling", "template", "layer", "layer_name", "n", "reason",
    "where", "sample", "seed", "transform", "words", "words_sha256", "words_missing", "group", "by",
    "bins", "fit", "common", "space_2", "layer_2", "layer_name_2", "revision", "step", "revision_2",
    "step_2", "place",
))  # fmt: skip
# Options of every metric on the command line, and their names in Store.query.
RESERVED_PARAMETERS = frozenset((
    "model", "models", "space", "spaces", "unit", "pooling", "template", "revision", "revisions",
    "layer", "layers", "where", "timeout", "memory", "sample", "seed", "transform", "transforms",
    "store", "store_option", "format", "form", "json", "as_json", "csv", "as_csv", "output", "o",
    "csv_safe", "lowest", "highest", "explain", "cache", "no_cache", "quiet",
    "help", "h", "metric", "self", "data", "by", "bins", "fit", "common",
    "named",
))  # fmt: skip
# Options of every metric that a metric may have itself, with a meaning of its own.
OWN_PARAMETERS = frozenset(("word", "words", "q"))
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class PluginError(EmbstoreError):
    """A metric of another package cannot be used; the message names the package and the problem."""


def find_plugins() -> dict[str, list[EntryPoint]]:
    """Return the metrics that installed packages register, as name → entry points, without
    importing them.
    """
    plugins: dict[str, list[EntryPoint]] = {}
    for point in sorted(
        entry_points(group=GROUP), key=lambda point: (point.name, _package_of(point))
    ):
        plugins.setdefault(point.name, []).append(point)
    return plugins


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


def problems(metric: object) -> list[str]:
    """Return the problems of a declaration, one line each; an empty list if it is valid."""
    if not isinstance(metric, Metric):
        return [f"it is no embstore.metrics.Metric but a {type(metric).__name__}"]
    types = {column.name: column.type for column in metric.columns}
    rules = {
        "its name must be like 'effective-rank'": bool(_NAME.fullmatch(metric.name)),
        "its function must have a docstring, whose first paragraph is the help": bool(metric.help),
        f"its needs must be one of {', '.join(get_args(Need))}": metric.needs in get_args(Need),
        "it has no columns": bool(metric.columns),
        "its best must name a column of numbers": (
            metric.best is None or types.get(metric.best) == "number"
        ),
    }
    for column in metric.columns:
        subject = f"its column {column.name!r}"
        rules |= {
            f"{subject} has the name of a column of every row": column.name not in RESERVED_COLUMNS,
            f"{subject} must be one of {', '.join(COLUMN_TYPES)}": column.type in COLUMN_TYPES,
        }
    for parameter in metric.parameters:
        subject = f"its parameter {parameter.name!r}"
        in_rows = RESERVED_COLUMNS - OWN_PARAMETERS if parameter.is_in_rows else frozenset()
        rules |= {
            f"{subject} must have a name like 'min_contexts'": parameter.name.isidentifier(),
            f"{subject} has the name of an option of every metric, or of a column of every row": (
                parameter.name not in RESERVED_PARAMETERS | in_rows
            ),
        }
    return [problem for problem, is_kept in rules.items() if not is_kept]


def _guarded(metric: Metric, subject: str, package: str) -> Metric:
    """Return a metric of a package whose rows are checked, and whose failures are PluginErrors
    about ``subject``.
    """

    @functools.wraps(metric.function)
    def function(*data: Any, **inputs: Any) -> list[Result]:
        with _isolated(f"{subject} failed"):
            result = metric.function(*data, **inputs)
            rows = rows_of(result) if isinstance(result, dict | list | tuple) else [result]
            values = {
                parameter.name: inputs.get(parameter.name, parameter.default)
                for parameter in metric.parameters
            }
            used = metric.with_columns_for(values)
            return [_check_row(used, row, subject) for row in rows]

    return replace(metric, package=package, function=function)


def _check_row(metric: Metric, row: Any, subject: str) -> Result:
    """Check which columns a row has; convert NumPy values to Python's, non-finite ones to None with
    a reason.
    """
    if not isinstance(row, dict):
        raise PluginError(
            f"{subject} must return a dict of its columns, or a list of such, not"
            f" {type(row).__name__}."
        )
    filled_later = {"best", *(column.name for column in NEEDED_COLUMNS.get(metric.needs, ()))}
    required = [column.name for column in metric.columns if column.name not in filled_later]
    if missing := [name for name in (*required, "n") if name not in row]:
        raise PluginError(f"{subject} returned a row without {', '.join(map(repr, missing))}.")
    allowed = metric.types.keys() | {"n", "scores"}
    if undeclared := [name for name in row if name not in allowed]:
        names = ", ".join(map(repr, undeclared))
        raise PluginError(f"{subject} returned {names}, which it does not declare as a column.")
    plain = {name: np.asarray(value).tolist() for name, value in row.items() if name != "scores"}
    not_finite = [name for name, value in plain.items() if not _is_finite(value)]
    reason = f"{' and '.join(not_finite)}: not a finite number" if not_finite else None
    return row | plain | dict.fromkeys(not_finite) | {"reason": row.get("reason") or reason}


def _is_finite(value: Any) -> bool:
    """Return whether a value of JSON types has finite numbers alone; raise TypeError for another
    type.
    """
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


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
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}, line {frame.lineno}"
        raise PluginError(f"{failure}: {type(error).__name__}: {error} ({place})") from error
