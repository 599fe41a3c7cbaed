"""The declaration of a metric: one frozen record from which options and help are made."""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Int64Array
from embstore.base.chart import Chart
from embstore.base.errors import EmbstoreError, UsageError, check_known
from embstore.base.keywords import python_value
from embstore.base.space import Unit, same_spelling
from embstore.base.summary import Summary
from embstore.metrics.parts import Parts

CALLER = "given as an object"
"""The package of a metric that a caller gives as an object, and whose answers are not stored."""
ITEM_COLUMNS = ("word", "sentence", "text")
"""Columns whose values are items of the store, rather than inputs such as datasets."""
WORDS = "FILE|WORDS"
"""Placeholder of a parameter that is a list of words."""

Value = float | int | str | list[float | None] | list[int] | np.generic | NDArray[Any] | None
Result = dict[str, Value]
Ids = Int64Array
Block = NDArray[np.floating]
T = TypeVar("T")

Need = Literal[
    "summary",
    "vectors",
    "neighbours",
    "pairs",
    "analogies",
    "lexicon",
    "word sets",
    "word contexts",
    "contexts",
    "column",
    "labels",
    "layers",
    "order",
]
"""The input of a metric.

``summary``: the stored sums (vectors only if rows are filtered). ``vectors``: one or more passes
over the vectors. ``neighbours``: all vectors in memory, and a search. ``pairs``, ``analogies``,
``lexicon``, ``word sets``: a dataset's rows or lists of words. ``word contexts``: lists of words,
with their occurrences. ``contexts``: the occurrences of each word or sentence. ``column``: a column
of the items. ``labels``: a column of the items whose values are classes. ``layers``: all layers of
one or two spaces. ``order``: the texts that items are in, and their order there.
"""


class NotComputable(EmbstoreError):
    """The value is undefined for these vectors; the message becomes the reason in the row.

    Args:
        reason: Reason, in words.
        n: Number of vectors.
    """

    def __init__(self, reason: str, n: int = 0) -> None:
        super().__init__(reason)
        self.n = n


class LayerData(Protocol):
    """The selected vectors of one layer of a space, after the requested transforms: the input of a
    metric.
    """

    @property
    def dim(self) -> int:
        """Number of components of a vector."""

    @property
    def dims(self) -> Int64Array:
        """Numbers of the components in the space, int64 (dim,), ascending; dropped dimensions leave
        gaps.
        """

    @property
    def summary(self) -> Summary:
        """Sums over the vectors; read from the stored summaries if no rows are filtered and nothing
        is transformed.
        """

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for blocks (float32 or float64, shape (n, dim)) that together
        are all the vectors.

        The function is called from several threads at once; only a few blocks are in memory at a
        time.
        """

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)``, as ``map`` does. Ids ascend within a block, not from
        block to block.
        """

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return ids (n,), ascending, and vectors (n, dim) in memory.

        Args:
            ids: Requested items, of which missing ones are omitted; None for all.
        """

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> tuple[Ids, Int64Array, Float64Array]:
        """Return the k nearest other items of every item, by exact search.

        Args:
            k: Number of neighbours; reduced to n − 1 if there are fewer other items.
            distance: ``cosine`` or ``euclidean``. Zero vectors have no cosine and are omitted from
                the ids.
            distinct: Whether to keep only the smallest id among equal vectors.
            only: Ids of the items to search for and among, ascending; None for all.

        Returns:
            Ids (n,), ascending; positions in them (n, k) of the neighbours, nearest first, without
            the item itself, ties up to rounding by ascending id; and cosines or Euclidean distances
            (n, k), float64.
        """

    def neighbours_of(self, items: Ids, k: int, only: Ids) -> tuple[Int64Array, Float64Array]:
        """Return the k nearest other items by cosine of some items, by exact search.

        Args:
            items: Ids of the items (m,), ascending.
            k: Number of neighbours; reduced to n − 1 if there are fewer other items.
            only: Ids of the items to search among (n,), ascending, none with a zero vector.

        Returns:
            Positions in ``only`` of the neighbours, int64 (m, k), nearest first, ties by ascending
            id; and cosines (m, k), float64.
        """


Layers = Sequence[LayerData]


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option of a metric.

    Attributes:
        name: Name in Python; the command line writes it with hyphens.
        default: Default value, which also gives the type: int, float, str or bool. ``()`` stands
            for a repeatable option of strings. For an option without a default use None and
            ``value_type``.
        help: Help text, one line.
        choices: Valid values of a str.
        minimum: Smallest valid number.
        maximum: Largest valid number.
        value_type: Type of a value, if the default does not give it.
        metavar: Placeholder for the value in the help.
        is_input: Whether it names an input (a dataset, a file of words) rather than a setting of
            the function.
        in_rows: Whether each row has a column with its value; None for all parameters that are not
            inputs.
        takes_numbers: Whether numbers may be given for the text that the command line has, as in
            0,10,100.
        counts_draws: Whether it is a number of random draws, which is None in a row for which
            nothing was drawn.
        only_with: Another parameter, and those of its values with which this one has an effect;
            none for all but its default. Without effect it is None in the rows.
        columns: Columns that a result has only if the parameter has another value than its default,
            after those that it always has; inputs that have an effect only with it are columns then
            too. The function need not return those of ``versus``, which the query adds.
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
    takes_numbers: bool = False
    counts_draws: bool = False
    only_with: tuple[str, tuple[Any, ...]] | None = None
    columns: "tuple[Column, ...]" = ()

    def has_effect(self, values: Mapping[str, Any]) -> bool:
        """Return whether the parameter has an effect with these values of all parameters."""
        if self.only_with is None:
            return True
        other, allowed = self.only_with
        return values[other] in allowed if allowed else bool(values[other])

    @property
    def is_words(self) -> bool:
        """Whether a value is a list of words, of which a row has those that were used."""
        return self.metavar == WORDS

    @property
    def is_in_rows(self) -> bool:
        """Whether each row has a column with its value; by default unless it is an input."""
        return not self.is_input if self.in_rows is None else self.in_rows

    @property
    def flag(self) -> str:
        """Option of the command line, such as ``--min-contexts``."""
        if len(self.name) == 1:
            return f"-{self.name}"
        name = self.name.replace("_", "-")
        return f"--{name}/--no-{name}" if self.kind is bool and self.default else f"--{name}"

    @property
    def kind(self) -> type:
        """Type of a value: int, float, str or bool, or tuple for a repeatable option."""
        return self.value_type or type(self.default)

    @property
    def type(self) -> str:
        """JSON type of a value in the rows, as in :class:`Column`, or "array of strings"."""
        if self.is_words:
            return "array of strings"
        return {int: "integer", float: "number", bool: "boolean", tuple: "array of strings"}.get(
            self.kind, "string"
        )

    def _plain(self, value: Any) -> Any:
        """Return a value with NumPy's numbers and truth values as Python's, and several strings as
        a tuple.
        """
        value = python_value(value)
        if self.takes_numbers and isinstance(value, int | list | tuple):
            numbers = [value] if isinstance(value, int) else value
            if numbers and all(type(number) in (int, float) for number in numbers):
                value = ",".join(map(str, numbers))
        if isinstance(value, os.PathLike) and not self.is_words:  # a dataset named by its file
            value = os.fspath(value)
        if self.kind is tuple and isinstance(value, Iterable):
            members = (value,) if isinstance(value, str) else value
            value = tuple(
                os.fspath(member) if isinstance(member, os.PathLike) else member
                for member in members
            )
        return same_spelling(value, self.choices) if isinstance(value, str) else value

    def check(self, value: Any) -> Any:
        """Return a valid value in its normal form, with the default for None.

        Raises:
            UnknownNameError: The value is not one of the choices.
            UsageError: The value has the wrong type or is out of range.
        """
        if value is None or (type(value) is type(self.default) and value == self.default):
            return self.default
        value = self._plain(value)
        is_number = self.kind in (int, float)
        members = value if self.kind is tuple and isinstance(value, tuple) else (value,)
        expected, kinds = _EXPECTED[self.kind]
        if self.is_words:  # which may be given one by one
            kinds = (str, os.PathLike, Iterable)
        if not all(isinstance(member, kinds) for member in members) or (
            is_number and isinstance(value, bool)
        ):
            raise UsageError(f"{self.name} must be {expected}, not {value!r}.")
        for choice in members if self.choices else ():
            check_known(self.name, str(choice), self.choices)
        if not is_number:
            return value
        try:
            value = self.kind(value)
        except OverflowError as error:
            raise UsageError(f"{self.name} must be a number that a float can hold.") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{self.name} must be a finite number, not {value}.")
        if self.minimum is not None and value < self.minimum:
            raise UsageError(f"{self.name} must be at least {self.minimum}, not {value}.")
        if self.maximum is not None and value > self.maximum:
            raise UsageError(f"{self.name} must be at most {self.maximum}, not {value}.")
        return value

    def check_effect(self, values: Mapping[str, Any]) -> None:
        """Raise UsageError if the parameter is given, and has no effect with the other values."""
        value = values[self.name]
        if self.only_with is None or value == self.default or self.has_effect(values):
            return
        other, allowed = self.only_with
        if allowed == ((),):
            raise UsageError(f"`{self.name}` has no effect with `{other}`: leave one of them out.")
        needed = " or ".join(f"{other}={choice!r}" for choice in allowed) or f"`{other}`"
        raise UsageError(
            f"{self.name}={value!r} has an effect with {needed} alone: add that, or leave"
            f" `{self.name}` out."
        )


# What a value of each kind must be.
_EXPECTED: dict[type, tuple[str, tuple[type, ...]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    bool: ("True or False", (bool,)),
    str: ("a string", (str,)),
    tuple: ("a string or several strings", (str,)),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a metric's result.

    Attributes:
        name: Name in the result.
        type: JSON type: "number", "integer", "string", "boolean", "array of numbers" or "array of
            integers".
        help: Description of the values.
        minimum: Smallest possible value.
        maximum: Largest possible value.
        unit: Unit of measurement; None for a plain number.
        shown: Whether the table printed in a terminal has this column.
        is_key: Whether it distinguishes the rows of one layer, as ``word`` does.
        interval: Names of the columns of its lower and its upper limit, those of a 95 % interval
            ``low`` and ``high``; or of one with a deviation.
        baselines: Names of the columns that are thin lines in pictures, such as the share of the
            largest class.
        label: What pictures call it, ``mean cosine``; by default the name with spaces.
    """

    name: str
    type: str
    help: str
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = None
    shown: bool = True
    is_key: bool = False
    interval: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    label: str = ""

    @property
    def limits(self) -> tuple[str, ...]:
        """Names of the columns with the limits of its 95 % interval; none for other bands."""
        return self.interval if self.interval and self.interval[0].endswith("low") else ()

    @property
    def range(self) -> str:
        """Range as text, "[-1, 1]" or "≥ 0"; empty if there is none."""
        if self.minimum is not None and self.maximum is not None:
            return f"[{self.minimum:g}, {self.maximum:g}]"
        if self.minimum is not None:
            return f"≥ {self.minimum:g}"
        return "" if self.maximum is None else f"≤ {self.maximum:g}"


@dataclass(frozen=True, slots=True)
class Similarity:
    """How a metric of two layers is compared with shuffled items.

    Attributes:
        column: Column of the similarity.
        is_distance: Whether the column is a distance, of which 1 − value is the similarity.
        matrix: Function from a layer, the items' ids and the metric's arguments to a matrix (n, n),
            so that the sum of products of two layers' matrices is the similarity; None to compute
            the metric anew for each permutation.
        has_matrix: Whether it has such a matrix with these arguments.
        excludes_zero_vectors: Whether items that are a zero vector in one of the layers are left
            out with these arguments.
        chance: Column of the similarity by chance: one of the metric's own, or the mean over the
            permutations.
    """

    column: str
    is_distance: bool = False
    matrix: Callable[..., Float64Array] | None = None
    has_matrix: Callable[[Mapping[str, Any]], bool] = lambda arguments: True
    excludes_zero_vectors: Callable[[Mapping[str, Any]], bool] = lambda arguments: False
    chance: str = "shuffled"

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> Float64Array:
        """Return the similarity of each row, float64 (rows,), NaN where it is undefined."""
        values = np.array([row[self.column] for row in rows], np.float64)
        return self.value_of(values)

    def value_of(self, similarities: Float64Array) -> Float64Array:
        """Return similarities as values of the column, and values of the column as similarities."""
        return 1 - similarities if self.is_distance else similarities


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: a function and its declaration, made by the decorator :func:`metric`.

    Attributes:
        name: Name on the command line and in :meth:`Store.query`.
        help: Help text, one line.
        function: Function of a :class:`LayerData`, of the further inputs that ``needs`` names, and
            of the parameters that are not inputs, as keywords. It returns the values of the columns
            with ``n`` and ``reason``, or a list of such rows; and under the name of a parameter the
            value that it was reduced to, as k where there are fewer items. If ``needs`` is
            ``layers``, it takes ``left`` (a list of LayerData), ``right`` (another, or None to
            compare ``left`` with each other) and ``ids`` (ascending; stored in all these layers),
            and returns a row for each layer of ``left`` with each of ``right``, in this order. If
            it has a parameter ``seed``, it gets ``--seed``, and its rows have a ``seed``, which is
            None if nothing was sampled.
        columns: Columns other than ``n``, ``reason`` and those of the parameters: see
            :attr:`row_parameters`.
        parameters: Options.
        formula: Formula, in one line.
        citation: Source of the definition.
        needs: Input of the function.
        estimator: Choices that affect the number: exactness, ddof, variants, pitfalls; in whole
            sentences.
        units: Units of the spaces it is defined for; empty for all.
        best: Column whose highest value marks the best layer of a space, in a boolean column
            ``best``; None for none.
        elsewhere: Advice for a space of another unit, as a sentence.
        drawn: Function from a row whose ``seed`` is not None, with the parameters, to a description
            of the sample.
        version: Version of the implementation, raised when the same input gives another number,
            column or note. Cached answers of other versions are not used; see
            :mod:`embstore.query.cache`.
        package: Name and version of the package that declares it, filled in on loading; None for
            embstore.
        references: Keys of its publications in embstore's bibliography, or BibTeX entries of
            another package.
        baseline: Function from the selected vectors of a layer, before they are divided by ``by``,
            to the input ``baseline`` of the function, the same for all groups, with the same
            keywords; None for no such input. With a parameter ``baseline`` that is ``group``, there
            is no such input.
        drawn_values: Columns that a chart can draw, the default first; none for all columns of
            numbers, those that the printed table has first.
        is_directed: Whether the first layer of a pair is the source and the second the target.
        label: What pictures call it, ``Anisotropy``; by default the name with spaces and a capital.
        similarity: How a metric of ``layers`` with the parameters :data:`PERMUTATIONS` is compared
            with shuffled items.
        parts: How the error of its number is estimated from parts of the items, for the parameters
            ``ci`` and ``versus``; None for no interval.
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
    references: tuple[str, ...] = ()
    baseline: Callable[..., Any] | None = None
    drawn_values: tuple[str, ...] = ()
    is_directed: bool = False
    similarity: Similarity | None = None
    parts: Parts | None = None
    label: str = ""
    # Whether the function takes all groups of ``by``, as name and ids, instead of one, and
    # ``is_ordered``: whether they are numbers or intervals.
    compares_groups: bool = False
    # Whether rows of a metric of ``layers`` are of items, each over all pairs of layers, instead of
    # pairs of layers.
    is_of_items: bool = False
    # Whether the values of ``labels`` may be numbers instead of classes.
    predicts_numbers: bool = False
    packages: tuple[str, ...] = ()  # other packages that its values depend on

    def __call__(self, *data: Any, **arguments: Any) -> Any:
        """Compute the metric of vectors in memory: call its function, and return its row or rows,
        with Python's numbers for NumPy's, and null in the columns that it leaves out.
        """
        result = self.function(*data, **arguments)
        nulls = dict.fromkeys([*(column.name for column in self.columns), "reason"])
        rows = [
            nulls | {name: _plain(value) for name, value in row.items()} for row in rows_of(result)
        ]
        return rows[0] if isinstance(result, dict) else rows

    def with_columns_for(self, parameters: Mapping[str, Any]) -> "Metric":
        """Return the declaration with the columns that the result has for these values of the
        parameters.
        """
        used = [p for p in self.parameters if p.columns and parameters[p.name] != p.default]
        columns = (*self.columns, *(column for p in used for column in p.columns))
        # Inputs that have an effect with one of these are columns too.
        known, recorded = {column.name for column in columns}, {p.name for p in used}
        return replace(
            self,
            columns=columns,
            parameters=tuple(
                replace(p, in_rows=True)
                if p.is_input
                and not p.columns
                and p.name not in known
                and (p.only_with or ("",))[0] in recorded
                else p
                for p in self.parameters
            ),
        )

    @property
    def compares_layers(self) -> bool:
        """Whether a result is of two layers."""
        return self.needs == "layers"

    @property
    def key_names(self) -> list[str]:
        """Names of the columns that distinguish the rows of one layer."""
        return [column.name for column in self.columns if column.is_key]

    @property
    def optional(self) -> tuple[Column, ...]:
        """Columns that a result has only with some parameter."""
        return tuple(column for parameter in self.parameters for column in parameter.columns)

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Check the values of parameters, and return the values of all parameters, with defaults
        for missing ones.

        Raises:
            UnknownNameError: The metric has no such parameter or choice.
            UsageError: A value has the wrong type, is out of range, or has no effect.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            check_known(f"parameter of {self.name}", name, known)
        checked = {name: known[name].check(values.get(name)) for name in known}
        for parameter in self.parameters:
            parameter.check_effect(checked)
        return checked

    @property
    def row_parameters(self) -> tuple[Parameter, ...]:
        """Parameters whose value each row has in a column of the same name: all but the inputs.

        A column of that name that the metric declares itself takes precedence: ``std`` contains the
        result that the option ``std`` requests.
        """
        columns = {column.name for column in self.columns}
        return tuple(
            param for param in self.parameters if param.is_in_rows and param.name not in columns
        )

    @property
    def is_seeded(self) -> bool:
        """Whether the metric may sample at random: its function takes ``seed``."""
        return "seed" in inspect.signature(self.function).parameters

    @property
    def types(self) -> dict[str, str]:
        """JSON types of the columns whose values may be null."""
        columns = {column.name: column.type for column in self.columns}
        parameters = {parameter.name: parameter.type for parameter in self.row_parameters}
        return columns | parameters | {"reason": "string", "seed": "integer"}

    @property
    def chart(self) -> Chart:
        """What a figure of the metric's results needs to know beyond their columns."""
        limits = {limit for column in self.columns for limit in column.limits}
        candidates = [column for column in self.columns if column.name not in limits]
        numbers = [column for column in candidates if column.type == "number"]
        ordered = sorted(numbers, key=lambda column: not column.shown)
        optional = {column.name for column in self.optional}
        is_bars = any(c.name in self.drawn_values and c.type != "number" for c in self.columns)
        more = (c.name for c in ordered if c.name in optional or not self.drawn_values)
        items = next((column.name for column in self.columns if column.name in ITEM_COLUMNS), None)
        keys = [column for column in self.columns if column.is_key and column.name != items]
        by_neighbours = self.needs in ("neighbours", "labels", "layers")
        # A similarity is at most 1: what goes beyond that says how far apart two layers are.
        distances = tuple(c.name for c in numbers if self.compares_layers and (c.maximum or 0) > 1)
        return Chart(
            tuple(dict.fromkeys((*self.drawn_values, *(() if is_bars else more)))),
            title=self.label or self.name.replace("-", " ").capitalize(),
            labels={column.name: column.label for column in self.columns if column.label},
            units={column.name: column.unit for column in self.columns if column.unit},
            ranges={column.name: (column.minimum, column.maximum) for column in self.columns},
            intervals={column.name: column.interval for column in self.columns},
            baselines={column.name: column.baselines for column in self.columns},
            # integers, such as a rank, are of items, which have a panel for each layer
            panels=tuple(
                "layer_name" if items and key.type == "integer" else key.name for key in keys
            ),
            settings=tuple(parameter.name for parameter in self.row_parameters),
            # No default number of neighbours is so usual that a reader could know it: captions
            # always state it.
            defaults={
                p.name: p.default for p in self.row_parameters if p.name != "k" or not by_neighbours
            },
            distances=distances,
            best="best" if self.best else None,
            is_directed=self.is_directed,
        )

    def empty(self, n: int, reason: str) -> Result:
        """Return a row of nulls with the reason, for a value that cannot be computed."""
        nulls: Result = {column.name: None for column in self.columns}
        return nulls | {"n": n, "reason": reason, "seed": None}


def _plain(value: Any) -> Any:
    """Return a NumPy value as Python's, another value as it is."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def join_reasons(*reasons: str | None) -> str | None:
    """Return the reasons that there are as one; None for none."""
    return "; ".join(filter(None, reasons)) or None


def with_scores(row: Result, scores: Any) -> Result:
    """Return a row with what its number is made of, on which the query compares layers; the query
    takes it out of the row.

    Args:
        row: Row of a metric that is declared with ``versus=True``.
        scores: :class:`embstore.metrics.numerics.estimates.Estimate` of the number; None if there
            is none.
    """
    return {**row, "scores": scores}


def rows_of(result: Result | Sequence[Result]) -> list[Result]:
    """Return the result of a metric's function as a list of rows."""
    return [result] if isinstance(result, dict) else list(result)
