"""Read a recipe from a TOML file and a JSON file of published numbers, with errors that name the place and remedy."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from embstore.base import disk, documents
from embstore.base.errors import RecipeAccessError, UnknownNameError, UsageError
from embstore.base.space import Pooling, Template, Unit, check_pooling, check_space_name
from embstore.query.grouping import Grouping, parse_grouping
from embstore.recipes.fields import Fields
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
_MAX_BYTES = 1 << 18  # of a file, over twenty times the size of the largest
_MAX_DOTS = 100  # a line; tomllib's time grows with the square of the parts of a dotted key
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(:[0-9]+)?")  # with an optional number of texts


class _Named(Protocol):
    """An entry of a recipe with a name."""

    @property
    def name(self) -> str:
        """Name of the entry."""


_PLURALS: Mapping[type, str] = {Source: "sources", SpaceSpec: "spaces"}
_NamedEntry = TypeVar("_NamedEntry", bound=_Named)


def known_recipes() -> list[str]:
    """List the names of the recipes included in embstore."""
    folder = resources.files("embstore") / "recipes"
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))


def load_recipe(name: str) -> Recipe:
    """Read a recipe by name or path.

    Args:
        name: Name of an included recipe, or path of a TOML file.

    Raises:
        UnknownNameError: If there is no such recipe, or a name in it is unknown; lists the nearest names.
        UsageError: If the file cannot be parsed, or a key is missing or invalid; names the place.
    """
    if name in known_recipes():
        with resources.as_file(resources.files("embstore") / "recipes") as folder:
            return _load(folder / f"{name}{SUFFIX}")
    path = Path(name)
    if path.suffix == SUFFIX:
        return _load(path)
    raise UnknownNameError("recipe", name, known_recipes(), "A recipe of your own is a .toml file: give its path.")


def _load(path: Path) -> Recipe:
    """Read a recipe from a TOML file, and check that its sources are datasets or files below its folder."""
    document = _read(path, _parse_toml)
    recipe = parse_recipe(document, str(path), lambda file: _read(_beside(path, file), json.loads))
    for source in recipe.sources.values():
        for name in source.datasets:
            _check_source(path, name)
    return recipe


def _beside(recipe: Path, name: str) -> Path:
    """Return the path of a file named in a recipe, which must be in the recipe's folder.

    Raises:
        UsageError: If it is not a plain file name, or is a link out of the folder, or not a regular file.
    """
    path = recipe.parent / name
    if name in ("", ".", "..") or "/" in name or "\\" in name or not _is_below(path, recipe.parent):
        raise UsageError(
            f"{recipe}: figures must be the name of a file in the recipe's folder, not {name!r}. Copy the file there."
        )
    return path


def _check_source(recipe: Path, name: str) -> None:
    """Check that a source is the name of a dataset or a file below the recipe's folder; raise UsageError if not."""
    if not _DATASET.fullmatch(name) and (name == "-" or not _is_below(Path(name), recipe.parent)):
        raise UsageError(
            f"{recipe}: a source must be a dataset or a file below the recipe's folder, not {name!r}. Copy the file "
            "there, or make a dataset of it: embstore datasets add"
        )


def _is_below(path: Path, folder: Path) -> bool:
    """Return whether a path is below a folder, with all links resolved."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, or a null character
        return False


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """Read a text file and parse it; raise UsageError if it is too large, no UTF-8 or cannot be parsed."""
    with disk.foreign("read", path, RecipeAccessError), open(path, "rb", opener=disk.open_regular) as file:
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


def parse_recipe(document: Mapping[str, Any], place: str, figures: Callable[[str], Any]) -> Recipe:
    """Parse a recipe from a TOML document.

    Args:
        document: Parsed TOML.
        place: File name in messages.
        figures: Function that reads the file of published numbers by its name.

    Raises:
        UnknownNameError: If a key or a referenced name is unknown.
        UsageError: If a key is missing or has a wrong value.
    """
    top = Fields(document, place)
    name, title, citation = top.located(check_space_name, top.text("name")), top.text("title"), top.text("citation")
    file = top.text("figures", "")
    models, notes = top.texts("models"), top.texts("notes", ())
    sources = _by_name(place, (_parse_source(table) for table in top.tables("sources")))
    spaces = _by_name(place, (_parse_space(table, sources) for table in top.tables("spaces")))
    measures = tuple(_parse_measure(table, spaces, sources) for table in top.tables("measures"))
    unmeasured = tuple(_parse_unmeasured(table) for table in top.tables("unmeasured", optional=True))
    top.check_all_read()
    published, origins = parse_figures(figures(file), f"{place}: {file}", spaces) if file else ((), {})
    return Recipe(name, title, citation, models, sources, spaces, measures, published, origins, unmeasured, notes)


def _by_name(place: str, entries: Iterable[_NamedEntry]) -> dict[str, _NamedEntry]:
    """Return entries by name; raise UsageError, which begins with ``place``, if two have the same name."""
    by_name: dict[str, _NamedEntry] = {}
    for entry in entries:
        if entry.name in by_name:
            raise UsageError(f"{place} has two {_PLURALS[type(entry)]} called {entry.name!r}. Rename one.")
        by_name[entry.name] = entry
    return by_name


def _parse_source(table: Fields) -> Source:
    """Parse an entry of ``sources``."""
    name, datasets = table.text("name"), table.texts("datasets")
    source = Source(
        name=name,
        datasets=datasets,
        quick=table.texts("quick", datasets),
        quick_texts=table.count("quick_texts"),
        per_text=table.count("per_text"),
        own_per_text=table.count("own_per_text"),
        replaceable=table.flag("replaceable"),
        keep=table.texts("keep", ()),
    )
    table.check_known("dataset", source.quick, datasets)
    if source.own_per_text is not None and (source.per_text is None or not source.replaceable):
        raise table.invalid("own_per_text", "absent where nothing is drawn (per_text) or replaced (replaceable)")
    return table.complete(source)


def _parse_space(table: Fields, sources: Mapping[str, Source]) -> SpaceSpec:
    """Parse an entry of ``spaces``, given the sources by name."""
    name = table.located(check_space_name, table.text("name"))
    space = SpaceSpec(
        name=name,
        label=table.text("label", name),
        source=table.text("source"),
        unit=table.member("unit", Unit),
        pooling=table.member("pooling", Pooling),
        template=table.located(Template, table.text("template", "{text}")),
        only_bare=table.flag("only_bare"),
        models=table.texts("models", ()),
    )
    table.check_known("source", [space.source], sources)
    table.located(check_pooling, space.unit, space.pooling)
    if sources[space.source].per_text is not None and space.unit is not Unit.OCCURRENCE:
        raise table.invalid("unit", "'occurrence', since its source draws words from sentences (per_text)")
    return table.complete(space)


def _parse_measure(table: Fields, spaces: Mapping[str, SpaceSpec], sources: Mapping[str, Source]) -> Measure:
    """Parse an entry of ``measures``, given the spaces and sources by name."""
    population, by = table.table("population"), _parse_grouping(table)
    measure = Measure(
        figure=table.text("figure"),
        help=table.text("help"),
        metric=table.text("metric"),
        column=table.text("column"),
        spaces=table.texts("spaces"),
        variant=table.text("variant", ""),
        parameters=MappingProxyType(table.mapping("parameters")),
        datasets=table.texts("datasets", ()),
        sample=table.count("sample"),
        where=table.text("where", "") or None,
        words=table.texts("words", ()),
        population=None if population is None else _parse_population(population),
        transforms=table.texts("transforms", ()),
        by=None if by is None else by.column,
        bins=None if by is None else by.bins,
        padding=table.text("padding", ""),
        band=table.number("band", 0.0, minimum=0),
        relative_band=table.number("relative_band", 0.0, minimum=0),
    )
    table.check_known("space", measure.spaces, spaces)
    if measure.padding:
        _check_padding(table, measure, spaces)
    embedded = dict.fromkeys(name for space in measure.spaces for name in sources[spaces[space].source].datasets)
    table.check_known("dataset", measure.datasets, embedded)
    table.check_known("dataset", [measure.population.dataset] if measure.population else [], embedded)
    if measure.population is not None and measure.population.repeated:
        _check_repeated(table, measure)
    return table.complete(measure)


def _parse_grouping(table: Fields) -> Grouping | None:
    """Parse the keys ``by`` and ``bins`` of a measure: a column, and a number of intervals or their edges."""
    by, bins = table.text("by", "") or None, table.take("bins", None)
    if by is None and bins is not None:
        raise table.invalid("bins", "absent without by, the column that it divides")
    return table.located(parse_grouping, by, bins)


def _check_repeated(table: Fields, measure: Measure) -> None:
    """Check a measure whose population has ``repeated`` (each text counts as often as it occurs).

    Raises:
        UsageError: It measures something else than anisotropy, or has parameters, a sample, a condition, words,
            transforms or a padding space.
    """
    if (measure.metric, measure.column) != ("anisotropy", "anisotropy"):
        raise table.invalid("metric", "'anisotropy' where texts count more than once (population.repeated)")
    for key in ("parameters", "sample", "where", "words", "transforms", "by", "padding"):
        if table.has(key):
            raise table.invalid(key, "absent where texts count more than once (population.repeated)")


def _check_padding(table: Fields, measure: Measure, spaces: Mapping[str, SpaceSpec]) -> None:
    """Raise UsageError unless a measure with padding is the anisotropy of occurrences, and its padding of sentences."""
    table.check_known("space", [measure.padding], spaces)
    if spaces[measure.padding].unit is not Unit.SENTENCE:
        raise table.invalid("padding", "the name of a space of sentences")
    if measure.metric != "anisotropy" or {spaces[name].unit for name in measure.spaces} != {Unit.OCCURRENCE}:
        raise table.invalid("metric", "'anisotropy' of occurrences, since padding is drawn too")
    for key in ("where", "words", "by"):
        if table.has(key):
            raise table.invalid(key, "absent where padding is drawn too")


def _parse_population(table: Fields) -> Population:
    """Parse the table ``population`` of a measure."""
    return table.complete(Population(table.text("dataset"), table.flag("left_only"), table.flag("repeated")))


def _parse_unmeasured(table: Fields) -> Unmeasured:
    """Parse an entry of ``unmeasured``."""
    return table.complete(
        Unmeasured(
            reason=table.text("reason"),
            figures=table.texts("figures", ()),
            models=table.texts("models", ()),
            variant=table.text("variant", ""),
        )
    )


def parse_figures(
    document: Any, place: str, spaces: Mapping[str, SpaceSpec]
) -> tuple[tuple[Published, ...], dict[str, str]]:
    """Parse the published numbers of a JSON document, and their places in the paper by key.

    Each entry of ``figures`` has ``layers`` and a ``value``, or ``first_layer`` and the ``values`` of that layer and
    those above it; and ``group`` if its measure has ``by``.

    Raises:
        UnknownNameError: If a key, relation, source or space is unknown.
        UsageError: If a key is missing or has a wrong value.
    """
    if not isinstance(document, dict):
        raise UsageError(f"{place} must hold an object with 'sources' and 'figures'.")
    top = Fields(document, place)
    origins = {str(key): str(value) for key, value in top.mapping("sources").items()}
    numbers = [number for entry in top.tables("figures") for number in _parse_published(entry, origins, spaces)]
    top.check_all_read()
    return tuple(numbers), origins


def _parse_published(
    entry: Fields, origins: Mapping[str, str], spaces: Mapping[str, SpaceSpec]
) -> Iterable[Published]:  # fmt: skip
    """Parse an entry of ``figures``: one published number, or one for each of several layers.

    Args:
        entry: Entry of the JSON file.
        origins: Places in the paper by key, to check the entry's source.
        spaces: Spaces of the recipe by name, to check the entry's spaces.
    """
    model, figure, source = entry.text("model"), entry.text("figure"), entry.text("source")
    relation, space_names = entry.member("relation", Relation), entry.texts("spaces", ())
    group = entry.text("group", "") or None
    entry.check_known("source", [source], origins)
    entry.check_known("space", space_names, spaces)
    if entry.has("values"):
        first = entry.count("first_layer", 0) or 0
        values: list[float | None] = [*entry.numbers("values")]
        layers: list[int | str | None] = list(range(first, first + len(values)))
    else:
        values = [None] if relation.is_trend else [entry.number("value")]
        layers = [_layers(entry)]
    entry.check_all_read()
    return [
        Published(model, figure, layer, relation, value, source, space_names, group)
        for layer, value in zip(layers, values, strict=True)
    ]


def _layers(entry: Fields) -> int | str | None:
    """Return the layers of a published number: a layer number, ``best``, ``all`` or None."""
    value = entry.take("layers", None)
    if value is None or value in (BEST, ALL) or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value  # type: ignore[no-any-return]  # JSON's
    raise entry.invalid("layers", f"a number, {BEST!r}, {ALL!r} or null")
