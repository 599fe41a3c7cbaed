"""How a metric is declared: once, as a frozen record from which options, help and schemas are made."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.errors import EmbstoreError, UnknownNameError, UsageError
from embstore.keywords import PLURALS
from embstore.space import Unit, same_spelling
from embstore.summary import Summary

Value = float | int | str | list[float | None] | list[int] | None
Result = dict[str, Value]
Ids = NDArray[np.int64]
Block = NDArray[np.floating]
T = TypeVar("T")

Need = Literal["summary", "vectors", "neighbours", "pairs", "lexicon", "word sets", "contexts", "layers"]
"""What a metric is computed from.

``summary``: the stored sums (vectors only where rows are filtered). ``vectors``: one or more passes over the vectors.
``neighbours``: all vectors in memory, and a search. ``pairs``, ``lexicon``, ``word sets``: a dataset's rows or lists of
words. ``contexts``: the occurrences of each word or sentence. ``layers``: all layers of one or two spaces.
"""


class NotComputable(EmbstoreError):
    """A value that does not exist for these vectors; its text is the reason that stands in the row.

    Args:
        reason: why.
        n: of how many vectors.
    """

    def __init__(self, reason: str, n: int = 0) -> None:
        super().__init__(reason)
        self.n = n


class LayerData(Protocol):
    """The selected vectors of one layer of one space, as a metric sees them, transformed if that was asked for."""

    @property
    def dim(self) -> int:
        """Components of a vector."""

    @property
    def dims(self) -> NDArray[np.int64]:
        """The number that each component has in the space, ascending, (dim,): what was dropped leaves a gap."""

    @property
    def summary(self) -> Summary:
        """The sums over the vectors; from disk when no rows are filtered and nothing is transformed."""

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for blocks (float32 or float64, shape (n, dim)) that together are all the vectors.

        A few threads call the function at once, and no more than a few blocks are in memory.
        """

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` likewise. Ids ascend within a block, not from block to block."""

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return ids (n,), ascending, and vectors (n, dim) in memory: all, or those of ``ids`` that are there."""

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> tuple[Ids, NDArray[np.int64], NDArray[np.float64]]:
        """Return the k nearest other items of every item, exactly.

        Args:
            k: how many; fewer where there are fewer others.
            distance: ``cosine`` or ``euclidean``. Zero vectors have no cosine: they are left out of the ids.
            distinct: whether of equal vectors only that of the smallest id is left.
            only: ascending ids of the items to search for and among; None takes all.

        Returns:
            Ids (n,), ascending; positions in them (n, k) of the nearest first, an item never its own neighbour, ties
            (what differs by no more than rounding) by ascending id; and cosines or Euclidean distances (n, k), float64.
        """


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option of a metric.

    Attributes:
        name: its name in Python; the command line has it with hyphens.
        default: its default, which also gives its type: int, float, str or bool. ``()`` is an option that may be
            repeated, of strings. For an option without a default use None and ``value_type``.
        help: one line.
        choices: the values that a str may have.
        minimum: the smallest value that a number may have.
        maximum: the largest.
        value_type: the type where the default does not give it.
        metavar: what stands for the value in the help.
        is_input: whether it names an input (a dataset, a file of words) rather than a setting of the function.
        in_rows: whether each row says its value, where that does not follow from ``is_input``.
    """

    name: str
    default: str | int | float | bool | tuple[str, ...] | None
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    value_type: type | None = None
    metavar: str | None = None
    is_input: bool = False
    in_rows: bool | None = None

    @property
    def is_in_rows(self) -> bool:
        """Whether each row says its value: of what is no input it does, unless ``in_rows`` is given."""
        return not self.is_input if self.in_rows is None else self.in_rows

    @property
    def kind(self) -> type:
        """The type of a value: int, float, str or bool, or tuple for an option that may be repeated."""
        return self.value_type or type(self.default)

    @property
    def type(self) -> str:
        """The type of a value in the rows, named like that of a :class:`Column`, or "array of strings"."""
        return {int: "integer", float: "number", bool: "boolean", tuple: "array of strings"}.get(self.kind, "string")

    def check(self, value: Any) -> Any:
        """Return ``value`` if the parameter may have it, else raise UnknownNameError or UsageError."""
        if value is None or (value == self.default and type(value) is type(self.default)):
            return self.default
        if self.kind is tuple:
            value = (value,) if isinstance(value, str) else tuple(value)
        if isinstance(value, str):
            value = same_spelling(value, self.choices)
        for one in value if self.kind is tuple else (value,):
            if self.choices and one not in self.choices:
                raise UnknownNameError(self.name, str(one), self.choices)
        if self.kind is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise UsageError(f"{self.name} must be a whole number, not {value!r}.")
        if self.kind is float and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise UsageError(f"{self.name} must be a number, not {value!r}.")
        if self.kind is bool and not isinstance(value, bool):
            raise UsageError(f"{self.name} must be True or False, not {value!r}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{self.name} must be a finite number, not {value}.")
        if self.kind in (int, float):
            if self.minimum is not None and value < self.minimum:
                raise UsageError(f"{self.name} must be at least {self.minimum}, not {value}.")
            if self.maximum is not None and value > self.maximum:
                raise UsageError(f"{self.name} must be at most {self.maximum}, not {value}.")
        return self._as_float(value) if self.kind is float else value

    def _as_float(self, value: float) -> float:
        try:
            return float(value)
        except OverflowError as error:
            raise UsageError(f"{self.name} must be a number that a float can hold.") from error


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a metric's result.

    Attributes:
        name: as in the result.
        type: its JSON type ("number", "integer", "string", "boolean", "array of numbers", "array of integers").
        help: what it holds.
        minimum: the smallest value there can be.
        maximum: the largest.
        unit: what a value is measured in, where it is not a plain number.
        shown: whether the table for the eye shows it.
        is_key: whether it tells the rows of one layer apart (``word``).
        interval: Names of the columns with the lower and the upper limit of its interval.
    """

    name: str
    type: str
    help: str
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = None
    shown: bool = True
    is_key: bool = False
    interval: tuple[str, str] | None = None

    @property
    def range(self) -> str:
        """The range as text, "[-1, 1]" or "≥ 0"; empty where there is none."""
        if self.minimum is not None and self.maximum is not None:
            return f"[{self.minimum:g}, {self.maximum:g}]"
        if self.minimum is not None:
            return f"≥ {self.minimum:g}"
        return "" if self.maximum is None else f"≤ {self.maximum:g}"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, declared once.

    Attributes:
        name: its name on the command line and in :meth:`Store.query`.
        help: one line.
        function: of a :class:`LayerData`, of what ``needs`` names beside it, and of the parameters that are no inputs,
            by keyword. It returns the values of the columns with ``n`` and ``reason``, or a list of such rows.
            Where ``needs`` is ``layers``, a function of ``left`` (a list of LayerData), ``right`` (another, or None to
            compare ``left`` with itself) and ``ids`` (ascending; all of these layers hold them), whose list has a row
            for each layer of ``left`` with each of ``right``, in this order. One that takes ``seed`` gets ``--seed``,
            and its rows say it; where nothing was drawn, its row has None as ``seed``.
        columns: its columns beside ``n``, ``reason``, and what says how a value was computed: see ``said``.
        parameters: its options.
        formula: the formula in one line.
        citation: where it comes from.
        needs: what it is computed from.
        estimator: the choices behind the number: what is exact, ddof, variants, traps; whole sentences.
        units: the units of the spaces that it makes sense for; empty for all.
        best: the column whose highest value marks the best layer of a space, in a boolean column ``best``; None: none.
        elsewhere: what to do with a space of another unit, as a sentence.
        drawn: what was drawn for a row whose ``seed`` is not None, in words, from the row with the parameters.
        route: in words, by which of several ways the function computes a pair of spaces, from the number of items, the
            dimensions of the layers, those of the second space (None: the same layers), and the settings by keyword;
            for a metric of layers. ``--explain`` shows it.
        version: raised when the same input gives another number or another note: stored answers of other versions are
            not given again. What else they depend on: :mod:`embstore.query.cache`.
        references: Keys of the publications of ``citation`` in ``embstore/query/references.bib``; whole BibTeX entries
            if another package declares the metric.
        package: what declares it, with its version, where that is not embstore; filled in when a plugin is loaded.
    """

    name: str
    help: str
    function: Callable[..., Result | list[Result]]
    columns: tuple[Column, ...]
    parameters: tuple[Parameter, ...]
    formula: str
    citation: str
    needs: Need = "vectors"
    estimator: str = ""
    units: tuple[Unit, ...] = ()
    best: str | None = None
    elsewhere: str = ""
    drawn: Callable[[Mapping[str, Any]], str] | None = None
    version: int = 1
    package: str | None = None
    route: Callable[..., str] | None = None
    references: tuple[str, ...] = ()

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters with their values, defaults filled in.

        Raises:
            UnknownNameError: a parameter or a choice that the metric does not have.
            UsageError: a value out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                hint = f"For {PLURALS[name]} use {PLURALS[name]}=." if name in PLURALS else ""
                raise UnknownNameError(f"parameter of {self.name}", name, known, hint)
        return {name: known[name].check(given.get(name, known[name].default)) for name in known}

    @property
    def said(self) -> tuple[Parameter, ...]:
        """The parameters that stand in each row, in a column of their name: all but the inputs.

        A column of that name that the metric has itself goes before: ``std`` holds what the option of that name asks
        for.
        """
        own = {column.name for column in self.columns}
        return tuple(parameter for parameter in self.parameters if parameter.is_in_rows and parameter.name not in own)

    @property
    def is_seeded(self) -> bool:
        """Whether it may draw at random: whether its function takes ``seed``."""
        try:
            return "seed" in inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # a function without a signature, written in C
            return False

    @property
    def types(self) -> dict[str, str]:
        """The JSON types of the columns that a row may lack a value of: all but those of its space and n."""
        said = {parameter.name: parameter.type for parameter in self.said}
        return {column.name: column.type for column in self.columns} | said | {"reason": "string", "seed": "integer"}

    def empty(self, n: int, reason: str) -> Result:
        """Return the row of a value that cannot be computed."""
        nulls: Result = {column.name: None for column in self.columns}
        return nulls | {"n": n, "reason": reason, "seed": None}


N_ZERO = Column("n_zero", "integer", "zero vectors, which have no direction", minimum=0, shown=False)


def rows_of(result: Result | Sequence[Result]) -> list[Result]:
    """Return what a metric's function gave as a list of rows."""
    return [result] if isinstance(result, dict) else list(result)
