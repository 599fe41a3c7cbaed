"""Load metrics that other packages declare in the entry point group ``embstore.metrics``.

[project.entry-points."embstore.metrics"]
median-norm = "my_metrics:MEDIAN_NORM"

The entry point's name is the name of the metric, its object a :class:`~embstore.metrics.Metric`. Entry points are read
only when a metric that is not built in is requested, which imports that plug-in alone, or when all metrics are listed.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from embstore.metrics.declaration.isolation import PluginError, isolated
from embstore.metrics.declaration.spec import CALLER, Metric, Result, rows_of
from embstore.metrics.declaration.validation import INPUT_COLUMNS, problems

GROUP = "embstore.metrics"


def find_plugins() -> dict[str, list[EntryPoint]]:
    """Return the metrics that installed packages register, as name → entry points, without importing them."""
    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, package_of(point))):
        found.setdefault(point.name, []).append(point)
    return found


def load_plugin(name: str, points: list[EntryPoint], built_in: Mapping[str, Metric]) -> Metric:
    """Import a metric of another package.

    Args:
        name: Name of the metric.
        points: Entry points of that name.
        built_in: Built-in metrics by name.

    Raises:
        PluginError: The metric cannot be imported, its declaration is invalid, or its name is already taken.
    """
    if name in built_in:
        raise PluginError(f"{_subject(points)} is refused: embstore has a metric of that name. Rename it.")
    if len(points) > 1:
        raise PluginError(f"{_subject(points)} is refused: the name must be that of one package. Uninstall the others.")
    with isolated(f"{_subject(points)} cannot be loaded from {points[0].value!r}"):
        metric = points[0].load()
    with isolated(f"{_subject(points)} has a declaration that cannot be read"):
        wrong = problems(metric)
        if not wrong and metric.name != name:
            wrong = [f"its name is {metric.name!r}, and the entry point's {name!r}"]
        if wrong:
            raise PluginError(f"{_subject(points)} is declared wrongly: {'; '.join(wrong)}.")
    return _guarded(metric, _subject(points), package_of(points[0]))


def guard_own(metric: object, built_in: Mapping[str, Metric]) -> Metric:
    """Check a metric that a caller gives as an object.

    Args:
        metric: Metric that no package registers, or that of a package.
        built_in: Built-in metrics by name.

    Returns:
        The metric, whose failures are reported as PluginError; its package is :data:`CALLER` if it has none.

    Raises:
        PluginError: It is no metric, its declaration is invalid, or its name is that of a built-in metric.
    """
    if wrong := problems(metric):
        raise PluginError(f"the metric given as an object is declared wrongly: {'; '.join(wrong)}.")
    assert isinstance(metric, Metric)
    if metric.package is not None:
        return metric
    subject = f"the metric {metric.name!r}"
    if metric.name in built_in:
        raise PluginError(f"{subject} is refused: embstore has another metric of that name. Rename it.")
    return _guarded(metric, subject, CALLER)


def _guarded(metric: Metric, subject: str, package: str) -> Metric:
    """Return a metric of a package whose failures are reported as PluginError, beginning with the subject."""
    return replace(
        metric,
        package=package,
        function=_guard(metric, subject),
        drawn=None if metric.drawn is None else _guard_text(metric.drawn, subject),
    )


def load_plugins(built_in: Mapping[str, Metric]) -> tuple[dict[str, Metric], list[str]]:
    """Return the usable metrics of other packages by name, and an error message for each that is not usable."""
    metrics, refused = {}, []
    for name, points in find_plugins().items():
        try:
            metrics[name] = load_plugin(name, points, built_in)
        except PluginError as error:
            refused.append(str(error))
    return metrics, refused


def package_of(point: EntryPoint) -> str:
    """Return the name and version of the package that registers an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _subject(points: list[EntryPoint]) -> str:
    """Return the start of an error message: the metric and the packages that register it."""
    return f"the metric {points[0].name!r} of {' and '.join(map(package_of, points))}"


def _guard(metric: Metric, subject: str) -> Callable[..., list[Result]]:
    """Return the metric's function, wrapped to report its failures as PluginError and to check its rows.

    Args:
        metric: Metric of another package.
        subject: Start of an error message.
    """

    @functools.wraps(metric.function)
    def function(*data: Any, **inputs: Any) -> list[Result]:
        with isolated(f"{subject} failed"):
            result = metric.function(*data, **inputs)
            rows = rows_of(result) if isinstance(result, dict | list | tuple) else [result]
            if wrong := [type(row).__name__ for row in rows if not isinstance(row, dict)]:
                raise PluginError(f"{subject} must return a dict of its columns, or a list of such, not {wrong[0]}.")
            return [_check_row(metric, row, subject) for row in rows]

    return function


def _guard_text(drawn: Callable[[Mapping[str, Any]], str], subject: str) -> Callable[[Mapping[str, Any]], str]:
    """Return the metric's ``drawn`` function, wrapped to report its failures as PluginError."""

    @functools.wraps(drawn)
    def function(row: Mapping[str, Any]) -> str:
        with isolated(f"{subject} failed"):
            return str(drawn(row))

    return function


def _check_row(metric: Metric, row: Result, subject: str) -> Result:
    """Check the columns and types of a row; convert NumPy values to Python's, non-finite ones to None with a reason.

    Raises:
        PluginError: A declared column is missing, an undeclared one is present, or a value has the wrong type.
    """
    filled_later = INPUT_COLUMNS.get(metric.needs, ())
    required = [*(column.name for column in metric.columns if column.name not in filled_later), "n"]
    if missing := [name for name in required if name not in row]:
        raise PluginError(f"{subject} returned a row without {', '.join(map(repr, missing))}.")
    allowed = (*required, "reason", *(["seed"] if metric.is_seeded else []))
    if undeclared := [name for name in row if name not in allowed]:
        names = ", ".join(map(repr, undeclared))
        raise PluginError(f"{subject} returned {names}, which it does not declare as a column.")
    plain = {name: _plain(value) for name, value in row.items()}
    for column in metric.columns:
        if not _has_type(column.type, plain.get(column.name)):
            raise PluginError(
                f"{subject} returned {plain[column.name]!r} in {column.name!r}, which is no {column.type}."
            )
    if not _has_type("integer", plain.get("seed")):
        raise PluginError(f"{subject} returned {plain['seed']!r} in 'seed', which is no integer.")
    not_finite = [name for name, value in plain.items() if not _is_finite(value)]
    reason = row.get("reason") or (f"{' and '.join(not_finite)}: not a finite number" if not_finite else None)
    return plain | dict.fromkeys(not_finite) | {"reason": reason}


def _plain(value: Any) -> Any:
    """Convert a NumPy scalar or array to a Python number or list."""
    return value.tolist() if hasattr(value, "tolist") else value


def _has_type(kind: str, value: Any) -> bool:
    """Return whether a value is None or of a JSON type, given as in :class:`Column`."""
    if value is None:
        return True
    if kind.startswith("array of "):
        kind = kind.removeprefix("array of ").removesuffix("s")
        return isinstance(value, list) and all(_has_type(kind, element) for element in value)
    if kind in ("string", "boolean"):
        return isinstance(value, str if kind == "string" else bool)
    return isinstance(value, int | float if kind == "number" else int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    """Return whether a value, or every element of a list, is no float or a finite one."""
    elements = value if isinstance(value, list) else [value]
    return all(math.isfinite(element) for element in elements if isinstance(element, float))
