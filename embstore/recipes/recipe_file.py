"""Read a recipe from a TOML file and a JSON file of published numbers, with errors that name the
place and remedy.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import StrEnum
from math import isfinite
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from embstore.base import disk, documents
from embstore.base.errors import EmbstoreError, RecipeAccessError, UnknownNameError, UsageError
from embstore.base.space import Template, Unit, check_pooling, check_space_name
from embstore.query.grouping import parse_grouping
from embstore.recipes.recipe import (
    ALL,
    BEST,
    Measure,
    Population,
    Published,
    Recipe,
    Relation,
    Source,
    SpaceSpec,
    Unmeasured,
)

SUFFIX = ".toml"
_FOLDER = Path(__file__).parent  # of the recipes included in embstore
_MAX_BYTES = 1 << 18  # of a file, over twenty times the size of the largest
_MAX_DOTS = 100  # a line; tomllib's time grows with the square of the parts of a dotted key
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(:[0-9]+)?")  # with an optional number of texts
_T = TypeVar("_T")
_Named = TypeVar("_Named", Source, SpaceSpec)


def known_recipes() -> list[str]:
    """List the names of the recipes included in embstore."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{SUFFIX}"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe by its name, or by the path of a TOML file.

    Raises:
        UnknownNameError: There is no such recipe, or a name in it is unknown; lists the nearest
            names.
        UsageError: The file cannot be parsed, or a key is missing or invalid; names the place.
    """
    path = _FOLDER / f"{name}{SUFFIX}" if name in known_recipes() else Path(name)
    if path.suffix == SUFFIX:
        return _load(path)
    raise UnknownNameError(
        "recipe", name, known_recipes(), "A recipe of your own is a .toml file: give its path."
    )


def _load(path: Path) -> Recipe:
    """Read a recipe from a TOML file, and check that its sources are datasets or files below its
    folder.
    """
    document = _read(path, _parse_toml)
    recipe = parse_recipe(document, str(path), lambda file: _read(_beside(path, file), json.loads))
    for name in (name for source in recipe.sources.values() for name in source.datasets):
        if not _DATASET.fullmatch(name) and (name == "-" or not _is_below(Path(name), path.parent)):
            raise UsageError(
                f"{path}: a source must be a dataset or a file below the recipe's folder, not"
                f" {name!r}. Copy the file there, or make a dataset of it: embstore datasets add"
            )
    return recipe


def _beside(recipe: Path, name: str) -> Path:
    """Return the path of a file named in a recipe, which must be in the recipe's folder, also after
    links.
    """
    path = recipe.parent / name
    if name in ("", ".", "..") or "/" in name or "\\" in name or not _is_below(path, recipe.parent):
        raise UsageError(
            f"{recipe}: figures must be the name of a file in the recipe's folder, not {name!r}."
            " Copy the file there."
        )
    return path


def _is_below(path: Path, folder: Path) -> bool:
    """Return whether a path is below a folder, with all links resolved."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except ValueError:  # a null character
        return False


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """Read a text file and parse it; raise UsageError if it is too large, no UTF-8 or cannot be
    parsed.
    """
    with disk.foreign(path, RecipeAccessError), open(path, "rb", opener=disk.open_regular) as file:
        data = file.read(_MAX_BYTES + 1)
    try:
        return documents.parse_foreign(data, _MAX_BYTES, parse)
    except documents.InvalidDocument as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML; raise ValueError if a line has so many dots that a key in it may take minutes."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MAX_DOTS:
            raise ValueError(f"line {number} has more than {_MAX_DOTS} dots")
    return tomllib.loads(text)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_count(value: Any, minimum: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _is_list(value: Any, is_member: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_member, value))


_READERS: dict[Any, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
    str: (_is_text, "a text", str),
    tuple[str, ...]: (lambda value: _is_list(value, _is_text), "a list of texts", tuple),
    float: (lambda value: _is_number(value) and value >= 0, "a number of at least 0", float),
    int: (_is_count, "a whole number of at least 1", int),
    bool: (lambda value: isinstance(value, bool), "true or false", bool),
    Mapping[str, Any]: (lambda value: isinstance(value, dict), "a table", MappingProxyType),
}
"""The types of keys: whether a value is of the type, a description of valid values, and a
conversion of these.
"""


@dataclass(frozen=True, slots=True)
class _Fields:
    """A TOML or JSON table with typed access to its keys. Methods raise UsageError for a missing or
    invalid value.
    """

    values: Mapping[str, Any]
    place: str  # file and path of the table in messages: ``paper.toml: measures[2]``
    read_keys: list[str] = field(default_factory=list)

    def take(self, key: str, default: Any = MISSING) -> Any:
        """Return the value of a key, of any type; the default, if there is one, for a missing
        key.
        """
        self.read_keys.append(key)
        if key in self.values:
            return self.values[key]
        if default is MISSING:
            raise UsageError(f"{self.place} has no {key!r}. Add it.")
        return default

    def invalid(self, key: str, expected: str) -> UsageError:
        """Return the error for a value of the wrong type or range; ``expected`` says what it must
        be.
        """
        return UsageError(f"{self.place}: {key} must be {expected}, not {self.values[key]!r}.")

    def read(self, key: str, kind: Any, default: Any = MISSING) -> Any:
        """Return the value of a key of one of the types in ``_READERS``, an enumeration, Template
        or Population.
        """
        value = self.take(key, default)
        if key not in self.values:
            return default
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            self.check_known(key, [value], [member.value for member in kind])
            return kind(value)
        if kind is Template:
            return self.located(Template, self.read(key, str))
        if kind is Population:
            return _Fields(self.read(key, Mapping[str, Any]), f"{self.place}: {key}").record(
                Population
            )
        is_valid, expected, convert = _READERS[kind]
        if not is_valid(value):
            raise self.invalid(key, expected)
        return convert(value)

    def record(self, kind: type[_T], **given: Any) -> _T:
        """Return a data class of the values of the keys that are its fields; ``given`` are those
        read otherwise.

        Raises:
            UnknownNameError: The table has a key that was not read.
        """
        hints = get_type_hints(kind)
        for each in fields(kind):  # type: ignore[arg-type]
            if each.name not in given:
                hint = hints[each.name]
                base = get_args(hint)[0] if isinstance(hint, UnionType) else hint  # without None
                default = (
                    each.default if each.default_factory is MISSING else each.default_factory()
                )
                given[each.name] = self.read(each.name, base, default)
        self.check_all_read()
        return kind(**given)

    def tables(self, key: str, *, optional: bool = False) -> Iterator["_Fields"]:
        """Return the value of a key, a list of tables; empty if the key is missing and
        ``optional``.
        """
        value = self.take(key, [] if optional else MISSING)
        if not (value == [] and optional) and not _is_list(
            value, lambda entry: isinstance(entry, dict)
        ):
            raise self.invalid(key, "a list of tables")
        return (_Fields(entry, f"{self.place}: {key}[{i}]") for i, entry in enumerate(value))

    def check_known(self, kind: str, names: Iterable[Any], known: Iterable[str]) -> None:
        """Raise UnknownNameError for the first of ``names`` that is not in ``known``; ``kind`` is a
        noun for them.
        """
        known = list(known)
        for name in names:
            if name not in known:
                raise UnknownNameError(kind, str(name), known, f"It stands in {self.place}.")

    def check_all_read(self) -> None:
        """Raise UnknownNameError if the table has a key that was never read, and so is unknown."""
        self.check_known("key", self.values, dict.fromkeys(self.read_keys))

    def located(self, check: Callable[..., _T], *values: Any) -> _T:
        """Return ``check(*values)``; convert its errors to a UsageError that names the place of the
        table.
        """
        try:
            return check(*values)
        except EmbstoreError as error:
            raise UsageError(f"{self.place}: {error}") from error


def parse_recipe(document: Mapping[str, Any], place: str, figures: Callable[[str], Any]) -> Recipe:
    """Parse a recipe from a TOML document.

    Args:
        document: Parsed TOML.
        place: File name in messages.
        figures: Function that reads the file of published numbers by its name.

    Raises:
        UnknownNameError: A key or a referenced name is unknown.
        UsageError: A key is missing or has a wrong value.
    """
    top = _Fields(document, place)
    top.located(check_space_name, top.read("name", str))
    file, models = top.read("figures", str, ""), top.read("models", tuple[str, ...])
    sources = _by_name(place, "sources", map(_parse_source, top.tables("sources")))
    spaces = _by_name(
        place, "spaces", (_parse_space(table, sources) for table in top.tables("spaces"))
    )
    measures = tuple(_parse_measure(table, spaces, sources) for table in top.tables("measures"))
    unmeasured = tuple(
        table.record(Unmeasured) for table in top.tables("unmeasured", optional=True)
    )
    recipe = top.record(
        Recipe,
        models=models,
        sources=sources,
        spaces=spaces,
        measures=measures,
        unmeasured=unmeasured,
        published=(),
    )
    return _with_figures(recipe, figures(file), f"{place}: {file}") if file else recipe


def _by_name(place: str, plural: str, entries: Iterable[_Named]) -> dict[str, _Named]:
    """Return entries by name; raise UsageError, which begins with ``place``, if two have the same
    name.
    """
    by_name: dict[str, _Named] = {}
    for entry in entries:
        if entry.name in by_name:
            raise UsageError(f"{place} has two {plural} called {entry.name!r}. Rename one.")
        by_name[entry.name] = entry
    return by_name


def _parse_source(table: _Fields) -> Source:
    datasets = table.read("datasets", tuple[str, ...])
    source = table.record(Source, quick=table.read("quick", tuple[str, ...], datasets))
    table.check_known("dataset", source.quick, datasets)
    if source.own_per_text is not None and (source.per_text is None or not source.replaceable):
        raise table.invalid(
            "own_per_text", "absent where nothing is drawn (per_text) or replaced (replaceable)"
        )
    return source


def _parse_space(table: _Fields, sources: Mapping[str, Source]) -> SpaceSpec:
    name = table.located(check_space_name, table.read("name", str))
    space = table.record(SpaceSpec, label=table.read("label", str, name))
    table.check_known("source", [space.source], sources)
    table.located(check_pooling, space.unit, space.pooling)
    if sources[space.source].per_text is not None and space.unit is not Unit.OCCURRENCE:
        raise table.invalid(
            "unit", "'occurrence', since its source draws words from sentences (per_text)"
        )
    return space


def _parse_measure(
    table: _Fields, spaces: Mapping[str, SpaceSpec], sources: Mapping[str, Source]
) -> Measure:
    by, bins = (
        table.read("by", str, None),
        table.take("bins", None),
    )  # a number of intervals, or their edges
    if by is None and bins is not None:
        raise table.invalid("bins", "absent without by, the column that it divides")
    grouping = table.located(parse_grouping, by, bins)
    measure = table.record(Measure, by=by, bins=None if grouping is None else grouping.bins)
    table.check_known("space", measure.spaces, spaces)
    if measure.padding:
        table.check_known("space", [measure.padding], spaces)
        if spaces[measure.padding].unit is not Unit.SENTENCE:
            raise table.invalid("padding", "the name of a space of sentences")
        if measure.metric != "anisotropy" or {spaces[name].unit for name in measure.spaces} != {
            Unit.OCCURRENCE
        }:
            raise table.invalid("metric", "'anisotropy' of occurrences, since padding is drawn too")
        _check_absent(table, ("where", "words", "by"), "where padding is drawn too")
    embedded = dict.fromkeys(
        name for space in measure.spaces for name in sources[spaces[space].source].datasets
    )
    table.check_known("dataset", measure.datasets, embedded)
    if measure.population is not None:
        table.check_known("dataset", [measure.population.dataset], embedded)
        if measure.population.repeated:
            reason = "where texts count more than once (population.repeated)"
            if (measure.metric, measure.column) != ("anisotropy", "anisotropy"):
                raise table.invalid("metric", f"'anisotropy' {reason}")
            _check_absent(
                table,
                ("parameters", "sample", "where", "words", "transforms", "by", "padding"),
                reason,
            )
    return measure


def _check_absent(table: _Fields, keys: Iterable[str], reason: str) -> None:
    """Raise UsageError if a table has one of the keys."""
    for key in keys:
        if key in table.values:
            raise table.invalid(key, f"absent {reason}")


def _with_figures(recipe: Recipe, document: Any, place: str) -> Recipe:
    """Return the recipe with the published numbers of a JSON document.

    Each entry of ``figures`` has ``layers`` and a ``value``, or ``first_layer`` and the ``values``
    of that layer and those above it; and ``group`` if its measure has ``by``.
    """
    if not isinstance(document, dict):
        raise UsageError(f"{place} must hold an object with 'sources' and 'figures'.")
    top = _Fields(document, place)
    origins = top.read(
        "sources", Mapping[str, Any], {}
    )  # the places of the numbers in the paper, by key
    numbers = [
        number
        for entry in top.tables("figures")
        for number in _parse_published(entry, origins, recipe.spaces)
    ]
    top.check_all_read()
    return replace(recipe, published=tuple(numbers))


def _parse_published(
    entry: _Fields, origins: Mapping[str, Any], spaces: Mapping[str, SpaceSpec]
) -> Iterator[Published]:
    """Parse an entry of ``figures``: one published number, or one for each of several layers."""
    entry.check_known("source", [entry.read("source", str)], origins)
    entry.check_known("space", entry.read("spaces", tuple[str, ...], ()), spaces)
    values: list[float | None] = [None]
    layers: list[int | str | None]
    if "values" in entry.values:
        numbers, first = entry.take("values"), entry.take("first_layer", 0)
        if not _is_list(numbers, _is_number):
            raise entry.invalid("values", "a list of numbers")
        if not _is_count(first, 0):
            raise entry.invalid("first_layer", "a whole number of at least 0")
        values, layers = list(map(float, numbers)), list(range(first, first + len(numbers)))
    else:
        if not entry.read("relation", Relation).is_trend:
            if not _is_number(value := entry.take("value")):
                raise entry.invalid("value", "a number")
            values = [float(value)]
        layers = [entry.take("layers", None)]
        if layers[0] not in (None, BEST, ALL) and not _is_count(layers[0], 0):
            raise entry.invalid("layers", f"a number, {BEST!r}, {ALL!r} or null")
    return (
        entry.record(Published, layers=layer, value=value)
        for layer, value in zip(layers, values, strict=True)
    )
