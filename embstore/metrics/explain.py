"""Explain a metric: its formula, citation, estimator, columns with their ranges, and parameters."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from embstore.base.messages import printable
from embstore.metrics.declaration import Column, Metric, Need, Parameter

NEEDS: dict[Need, str] = {
    "summary": (
        "the sums stored beside the vectors, which are read only where items are selected or"
        " transformed"
    ),
    "vectors": "passes over the vectors, block by block; memory does not grow with their number",
    "neighbours": "all vectors of a layer in memory, compared with each other exactly",
    "pairs": "pairs of items with a human score: a dataset",
    "analogies": "questions of four words: a dataset; all vectors of a layer, block by block",
    "lexicon": "words with a value each: a dataset",
    "word sets": "lists of words",
    "word contexts": "lists of words, and the occurrences of each",
    "contexts": "the occurrences of each word, or of each sentence's words",
    "column": "a column of numbers of the items, and passes over the vectors",
    "labels": "a column of the items with classes, and the vectors of a layer in memory",
    "order": "the vectors of a text in memory, in the order of its tokens",
    "layers": "two layers over the items that both have, of one space or of two",
}
UNGROUPED: dict[Need, str] = {
    "pairs": "the pairs of a dataset (of part of them with `where` or `words`)",
    "analogies": (
        "the questions of a dataset (answered among part of the items with `where` or `words`)"
    ),
    "lexicon": "the words of a lexicon (of part of them with `where` or `words`)",
    "word sets": "lists of words",
    "word contexts": "lists of words",
}
"""What metrics are of that cannot be divided into groups of items (`by`)."""
_WIDTH = 80
_COLUMN = ("name", "type", "minimum", "maximum", "unit", "help")


class CacheLookup(NamedTuple):
    """The cache state of one answer of a query: of one layer, or of all layers that are
    compared.
    """

    space: str
    space_2: str | None  # name of the space it is compared with; None for a metric of single layers
    layers: tuple[str, ...]
    is_stored: bool


class CacheState(NamedTuple):
    """The cache state of all answers of a query, as text (``str``) and as JSON
    (:meth:`to_dict`).
    """

    lookups: tuple[CacheLookup, ...]
    refused: str | None = None  # reason why answers of this query are not cached; None if they are

    def to_dict(self) -> dict[str, Any]:
        """Return the member ``cache`` of the output of
        ``embstore query METRIC --explain --format json``.
        """
        return {
            "n_answers": len(self.lookups),
            "n_stored": self._n_stored,
            "refused": self.refused,
            "to_compute": [
                {"space": space, "space_2": space_2, "layers": layers}
                for (space, space_2), layers in self._to_compute().items()
            ],
        }

    def __str__(self) -> str:
        n, n_stored = len(self.lookups), self._n_stored
        if self.refused:
            return f"answers of this query are not stored: {self.refused}"
        if n == n_stored:
            return f"{f'all {n} answers are' if n > 1 else 'the answer is'} stored"
        missing = "; ".join(
            f"{space}{f' with {space_2}' if space_2 not in (None, space) else ''} "
            f"layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}"
            for (space, space_2), layers in self._to_compute().items()
        )
        if n == 1:
            return f"the answer is not stored; it would be computed: {missing}"
        return f"{n_stored} of {n} answers are stored; {n - n_stored} would be computed: {missing}"

    @property
    def _n_stored(self) -> int:
        return sum(lookup.is_stored for lookup in self.lookups)

    def _to_compute(self) -> dict[tuple[str, str | None], list[str]]:
        """Return the layers of the answers that are not cached, by space and second space."""
        layers: dict[tuple[str, str | None], list[str]] = {}
        for lookup in self.lookups:
            if not lookup.is_stored:
                layers.setdefault((lookup.space, lookup.space_2), []).extend(lookup.layers)
        return layers


@dataclass(frozen=True, slots=True)
class Explanation:
    """The declaration of a metric, as text (``str``) and as JSON (:meth:`to_dict`).

    Attributes:
        cache: Cache state of a query; text if it cannot be determined; None if there is no store.
    """

    metric: Metric
    cache: CacheState | str | None = None

    @property
    def _columns(self) -> list[Column]:
        """The columns, with those of a parameter, which their help names."""
        optional = [
            replace(column, help=f"{column.help} (with `{parameter.name}`)")
            for parameter in self.metric.parameters
            for column in parameter.columns
        ]
        return [*self.metric.columns, *optional]

    def to_dict(self) -> dict[str, Any]:
        """Return the output of ``embstore query METRIC --explain --format json``."""
        metric = self.metric
        texts = ("name", "help", "formula", "citation", "estimator", "needs")
        return {name: getattr(metric, name) for name in texts} | {
            "units": [unit.value for unit in metric.units],
            "version": metric.version,
            "package": metric.package,
            "columns": [
                {name: getattr(column, name) for name in _COLUMN} | {"key": column.is_key}
                for column in self._columns
            ],
            "parameters": [_parameter(metric, parameter) for parameter in metric.parameters],
            "seeded": metric.is_seeded,
            "cache": self.cache.to_dict() if isinstance(self.cache, CacheState) else None,
        }

    def __str__(self) -> str:
        metric = self.metric
        extra_columns = [parameter.name for parameter in metric.row_parameters]
        extra_columns += ["seed"] * metric.is_seeded
        sections = {
            "Formula": metric.formula,
            "Citation": metric.citation,
            "Estimator": metric.estimator,
            "Needs": f"{metric.needs}: {NEEDS[metric.needs]}",
            "Units": ", ".join(metric.units) or "all",
            "Rows": f"extra columns: {', '.join(extra_columns)}" if extra_columns else "",
            "Package": metric.package or "",
            "Cache": "" if self.cache is None else str(self.cache),
        }
        parts = [
            f"{metric.name}: {metric.help}",
            _two_columns({head: text for head, text in sections.items() if text}),
            "Columns:\n" + _two_columns(map(_column_line, self._columns), indent="  "),
        ]
        if metric.parameters:
            lines = _two_columns(map(_option_line, metric.parameters), indent="  ")
            parts.append(f"Options:\n{lines}")
        return printable("\n\n".join(parts), lines=True)

    __repr__ = __str__


def metavar_of(parameter: Parameter) -> str:
    """Return the placeholder for an option's value in the help; empty for a flag."""
    if parameter.kind is bool:
        return ""
    return (
        parameter.metavar
        or "|".join(parameter.choices)
        or {int: "N", float: "X"}.get(parameter.kind, "TEXT")
    )


def _parameter(metric: Metric, parameter: Parameter) -> dict[str, Any]:
    repeatable = parameter.kind is tuple
    return {
        "name": parameter.name,
        "option": parameter.flag,
        "type": "str" if repeatable else parameter.kind.__name__,
        "repeatable": repeatable,
        "default": (
            list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        ),
        "choices": list(parameter.choices),
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "in_rows": parameter in metric.row_parameters,
        "help": parameter.help,
    }


def _column_line(column: Column) -> tuple[str, str]:
    """Return the name of a column, and its type, range, unit and help as text."""
    limits = f"in {column.range}" if column.range.startswith("[") else column.range
    unit = f"({column.unit})" if column.unit else ""
    key = "; distinguishes the rows of a layer" if column.is_key else ""
    kind = " ".join(filter(None, (column.type, limits, unit)))
    return column.name, f"{kind}: {column.help}{key}"


def _option_line(parameter: Parameter) -> tuple[str, str]:
    """Return the command-line option of a parameter, and its help with its range and default."""
    default = parameter.default
    if isinstance(default, tuple):
        default = ", ".join(default)
    notes = [
        "repeatable" if parameter.kind is tuple else "",
        Column("", "", "", parameter.minimum, parameter.maximum).range,
        "" if parameter.kind is bool or default in (None, "") else f"default: {default}",
    ]
    suffix = "; ".join(filter(None, notes))
    head = f"{parameter.flag} {metavar_of(parameter)}".strip()
    return head, parameter.help + (f"  [{suffix}]" if suffix else "")


def _two_columns(entries: Mapping[str, str] | Iterable[tuple[str, str]], indent: str = "") -> str:
    """Return heads and wrapped texts in two columns; a head that is too long gets its own line."""
    pairs = [*entries.items()] if isinstance(entries, Mapping) else [*entries]
    width = min(max(len(head) for head, _ in pairs), 22)
    left = " " * (len(indent) + width + 2)
    wrapper = textwrap.TextWrapper(
        _WIDTH, subsequent_indent=left, break_on_hyphens=False, break_long_words=False
    )
    lines = []
    for head, text in pairs:
        wrapper.initial_indent = f"{indent}{head:{width}}  "
        if len(head) > width:
            lines.append(indent + head)
            wrapper.initial_indent = left
        lines += wrapper.wrap(text)
    return "\n".join(lines)
