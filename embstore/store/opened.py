"""What all methods of Store work on: the folder, what it held when it was opened, and arguments
that several have.
"""

import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cached_property
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar

from embstore.base.errors import (
    DamagedError,
    MissingObjectError,
    UnknownNameError,
    UsageError,
    check_known,
)
from embstore.base.keywords import Names, StrPath, as_names, check_types
from embstore.base.table import Table
from embstore.storage.cache import StoreFiles
from embstore.storage.card import SpaceFilter
from embstore.storage.catalog import Catalog
from embstore.storage.location import open_files
from embstore.storage.sql.connections import Limits
from embstore.store.result import Result

if TYPE_CHECKING:
    from embstore.metrics import Metric
    from embstore.query.grouping import Bins
    from embstore.query.request import MetricRequest, Selection
    from embstore.query.words import WordSource

T = TypeVar("T")


class OpenStore:
    """A folder with a store, or a store at a URL, and its catalog, which is read at the first
    query.

    Args:
        path: Folder or URL of the store; by default ``$EMBSTORE_STORE``, else ``./store``.
        options: Options of the client of a store at a URL.

    Raises:
        UsageError: ``path`` is an empty string, or a URL of another kind; or options are given for
            a folder.

    Attributes:
        path: Folder of the store; of a store at a URL, that of the copies of its files in the
            cache.
        url: URL of the store; None for a folder.
    """

    def __init__(
        self, path: StrPath | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        if path == "":  # as of a variable of a shell that is not set
            raise UsageError(
                "the store is named by an empty string. Name its folder or URL; without a name it"
                " is $EMBSTORE_STORE, else ./store."
            )
        named = os.fspath(path or os.environ.get("EMBSTORE_STORE") or "")
        self._is_named, self._is_pinned = bool(named), False
        self._files = open_files(named or "store", options)
        self.path = Path(named or "store") if self._files.is_local else self._files.root
        self.url = None if self._files.is_local else self._files.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url or str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy begins with, pickled or not: it reads the catalog itself."""
        return {name: value for name, value in vars(self).items() if name != "catalog"}

    def remote_bytes(self) -> int:
        """Return the number of bytes of the files of a store at a URL; 0 for a folder.

        Raises:
            StoreError: There is no store at the URL.
            RemoteError: The server cannot be reached.
        """
        return (
            0
            if self.url is None
            else sum(entry["bytes"] for entry in self._files.manifest().files.values())
        )

    @cached_property
    def catalog(self) -> Catalog:
        """The cards, shards and tables of the store as the last query found them."""
        return Catalog(self._files)

    def _newest(self) -> Catalog:
        """Return the catalog; of a folder read it again if something was committed since."""
        is_fixed = self._is_pinned or self.url is not None or "catalog" not in self.__dict__
        if not is_fixed and not self.catalog.is_newest:
            self.refresh()
        return self.catalog

    def _pinned(self) -> Self:
        """Return the same store for a task of several queries, which sees one state until
        :meth:`refresh`.
        """
        if self.url is not None:
            return self
        pinned = copy(self)
        pinned._is_pinned = True  # noqa: SLF001
        return pinned

    def refresh(self) -> None:
        """Forget what was read of the store: of one at a URL, the next query sees what was written
        since.
        """
        self.__dict__.pop("catalog", None)

    @contextmanager
    def _writing(self, *, dry_run: bool = False) -> Iterator[StoreFiles]:
        """Yield the files to change within the context, and forget at its end what was read of the
        store.
        """
        if not (dry_run or self._files.objects.takes_changes):
            raise self._files.objects.only_read()
        try:
            yield self._files
        finally:
            self.refresh()

    def _ask(self, query: Callable[[Catalog], T]) -> T:
        """Return the result of a query of one state of the store: the newest one.

        If files are replaced meanwhile, the query runs again. Of a store at a URL it is the state
        of the last query, so that no query asks the server for news.
        """
        while True:
            catalog = self._newest()
            try:
                return query(catalog)
            except (DamagedError, FileNotFoundError, MissingObjectError):
                if not catalog.is_outdated:
                    raise
                self.refresh()

    def _ask_table(self, query: Callable[[Catalog], Table]) -> Result:
        """Return the table that a query of the newest state returns, with a note on each space in
        it that is stale.
        """
        result = self._ask(query)
        if stale := self.catalog.stale():
            named = {row.get(column) for row in result for column in ("space", "space_2")}
            notes = [note for space, note in stale.items() if space in named]
            result = replace(result, notes=(*result.notes, *notes))
        return Result.of(result)


LayerSpec = str | int | Sequence[int | str]


class SpaceFilters(TypedDict, total=False):
    """Filters of spaces. :class:`SpaceFilter` has their defaults, and the docstring of ``query``
    says what they are.
    """

    models: Names
    spaces: Names
    unit: str | None
    pooling: str | None
    template: str | None
    revisions: Names


class ItemOptions(TypedDict, total=False):
    """Filters of items. :func:`selection_of` has their defaults."""

    where: str | None
    words: "WordSource | None"
    word: Names
    timeout: float | None
    memory: str | int | None


class SampleOptions(ItemOptions, total=False):
    """Filters of items, and a sample of those. :func:`selection_of` has their defaults."""

    sample: int | None
    seed: int


class FilterOptions(SpaceFilters, ItemOptions, total=False):
    """Filters of spaces and of items."""


class SelectionOptions(SpaceFilters, SampleOptions, total=False):
    """Filters of spaces and of items, and a sample of those."""


class QueryOptions(SelectionOptions, total=False):
    """Options of a query of any metric. :func:`metric_request` has the defaults of the others."""

    layers: LayerSpec
    transforms: Names
    by: str | Sequence[str] | None
    bins: "Bins | None"
    fit: str | None
    common: bool


def selection_of(
    *,
    where: str | None = None,
    words: "WordSource | None" = None,
    word: Names = (),
    timeout: float | None = None,
    memory: str | int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> "Selection":
    """Return a selection of items."""
    from embstore.query.request import Selection
    from embstore.query.words import word_list

    single = as_names(word)
    return Selection(
        where,
        as_int(sample),
        operator.index(seed),
        limits=as_limits(timeout, memory),
        words=None if words is None and not single else word_list(words, single),
    )


def _divided(options: Mapping[str, Any], declared: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that a TypedDict declares, and the others."""
    declared_options = {name: options[name] for name in declared.__annotations__ if name in options}
    return declared_options, {
        name: value for name, value in options.items() if name not in declared_options
    }


def as_filters(
    method: Callable[..., object], options: Mapping[str, Any], declared: type
) -> "tuple[SpaceFilter, Selection]":
    """Return the filters of spaces and of items that are further options of a method.

    Raises:
        UnknownNameError: The TypedDict does not declare an option; lists the nearest argument.
    """
    filters = declared.__annotations__
    if unknown := [name for name in options if name not in filters]:
        parameters = signature(method).parameters.values()
        arguments = [option.name for option in parameters if option.kind is not option.VAR_KEYWORD]
        raise UnknownNameError(f"argument of {method.__name__}", unknown[0], [*arguments, *filters])
    check_types(filters, options)
    of_spaces, of_items = _divided(options, SpaceFilters)
    return SpaceFilter(**of_spaces), selection_of(**of_items)


def metric_request(
    metric: "str | Metric",
    *,
    layers: LayerSpec = "all",
    transforms: Names = (),
    by: str | Sequence[str] | None = None,
    bins: "Bins | None" = None,
    fit: str | None = None,
    common: bool = False,
    **parameters: Any,
) -> "MetricRequest":
    """Return the request for a metric; ``Store.query`` has the arguments."""
    check_types(metric_request.__annotations__, locals())
    from embstore.metrics import as_metric
    from embstore.query.request import MetricRequest

    options, of_metric = _divided(parameters, SelectionOptions)
    metric = as_metric(metric)
    for name in {"words", "word"} & {parameter.name for parameter in metric.parameters}:
        if options.get(name) is not None:  # of a metric with such a parameter, that is meant
            of_metric[name] = options.pop(name)
    grouping = None
    if by is not None or bins is not None:
        from embstore.query.grouping import parse_grouping

        grouping = parse_grouping(by if by is None else ",".join(as_names(by)), bins)
    known = [*(parameter.name for parameter in metric.parameters), *QueryOptions.__annotations__]
    if metric.compares_layers and of_metric.pop("versus", None) is not None:
        raise UsageError(
            f"{metric.name} compares layers with each other: name another space with `against`, or"
            " test for likeness with `permutations`, where it has that, and leave out `versus`."
        )
    for name in of_metric:
        check_known(f"parameter of {metric.name}", name, known)
    spaces, selection = as_filters(metric_request, options, SelectionOptions)
    selection = replace(selection, transforms=as_names(transforms), by=grouping)
    checked = metric.check(of_metric)
    if _fits_groups(metric, selection, fit, is_averaged=bool(checked.get("average"))):
        selection = replace(selection, fits_groups=True)
    columns = metric.with_columns_for(checked)
    request = MetricRequest(columns, checked, selection, spaces, as_layers(layers), common)
    if request.has_group_baselines and selection.by is None:
        raise UsageError(
            "baseline='group' is for groups of items: name their column, as in by='context'."
        )
    if request.is_estimated:
        from embstore.query.estimates import estimated

        return estimated(request)
    if metric.parts is not None and checked["group"] is not None:
        raise UsageError(
            "`group` is for the intervals of `ci` and `versus`, and not for `average`: add one of"
            " them, or leave it out."
        )
    if not request.is_averaged:
        return request
    from embstore.query.averages import averaged

    return averaged(request)


def _fits_groups(
    metric: "Metric", selection: "Selection", fit: str | None, *, is_averaged: bool
) -> bool:
    """Return whether transforms are fitted on each group; raise UsageError if they cannot be."""
    if fit is None:
        return is_averaged
    check_known("fit", fit, ("all", "group"))
    if selection.by is None:
        raise UsageError("fit is for groups of items: name their column, as in by='context'.")
    if fit == "group" and not any(parameter.name == "average" for parameter in metric.parameters):
        raise UsageError(
            f"fit='group' is for metrics of a set of vectors, and {metric.name} is none."
        )
    return fit == "group"


def as_layers(layers: LayerSpec) -> str:
    """Return layers as they are written on the command line: ``0,6,top``."""
    if layers is None:
        raise UsageError("layers must be str or int, not None.")
    return str(layers) if isinstance(layers, str | int | Integral) else ",".join(map(str, layers))


def as_int(number: int | None) -> int | None:
    """Return a whole number, which may be one of NumPy, as Python's; raise TypeError for any other
    value.
    """
    return None if number is None else operator.index(number)


def as_bytes(memory: str | int | None) -> int | None:
    """Return an amount of memory, such as ``"8GB"``, in bytes."""
    if not isinstance(memory, str):
        return memory
    amount = re.fullmatch(r"(\d{1,30}(?:\.\d+)?) ?([KMGT]?)(I?)B?", memory.strip().upper())
    if amount is None:
        raise UsageError(f"{memory!r} is no amount of memory. Give one as in 8GB, 500MB or 2GiB.")
    base = 1024 if amount[3] else 1000
    return int(float(amount[1]) * base ** " KMGT".index(amount[2] or " "))


def as_limits(timeout: float | None, memory: str | int | None) -> Limits:
    """Return the limits of a user's SQL."""
    return Limits(timeout, as_bytes(memory))
