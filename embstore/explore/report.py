"""Report on a store: what it holds, its metrics as pictures and tables, and an interactive map, in one HTML file."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from embstore.base.errors import QueryError, UsageError
from embstore.base.escape import printable
from embstore.base.progress import task
from embstore.base.table import Table, table
from embstore.explore.commands import command
from embstore.explore.maps import commands_of, find_map, kept_now
from embstore.explore.packing import pack
from embstore.explore.reading import Reading
from embstore.explore.report_page import Section, page
from embstore.metrics import Metric, all_metrics
from embstore.query.layer_data import sharing_neighbours

_MOST_ITEMS = 20_000
"""Number of items of a space above which metrics are computed on a sample of as many."""
_MOST_SEARCHED = 10_000
"""The same for metrics that compare all items with all: their time grows with the square of this number."""
_N_CHANGED = 5
_WIDE, _NARROW = 720, 360
"""Widths of pictures in pixels: beside the list of sections, and in a window of a telephone's width."""


class Pictured(NamedTuple):
    """A metric of the report.

    Attributes:
        metric: The metric.
        options: Arguments of the query.
        result: Its result, or the reason why there is none.
    """

    metric: Metric
    options: dict[str, Any]
    result: Table | str


def report(
    store: Reading, reproduction: Table | None = None, recipe: str = "", options: Mapping[str, Any] | None = None
) -> str:
    """Return the HTML of a report, which opens without a network.

    The same store, the same versions and the same number of threads give the same bytes.

    Args:
        store: Store to report on.
        reproduction: Result of :meth:`Store.reproduce` that the report begins with; None for none.
        recipe: Name of its recipe.
        options: Its options.

    Raises:
        QueryError: The store has no space.
        UsageError: The extra ``plot`` is not installed.
    """
    info = store.info()
    if not len(info):
        raise QueryError("the store has no space to report on. Fill it with: embstore build")
    name = printable(store.path.name)
    sections = [_contents(store, info)]
    if reproduction is not None:
        sections.insert(0, _reproduction(reproduction, recipe, store, options or {}))
    metrics = list(all_metrics()[0].values())
    with task("report", name, len(metrics) + 1) as computing, sharing_neighbours():
        for metric in metrics:
            sections += [_section(store, name, pictured) for pictured in _pictured(store, metric, info)]
            computing.finish(metric.name)
        sections += _drift(store, info)
        computing.finish("drift")
    commands = {space: commands_of(store, space, folder=_folder(store)) for space in info["space"]}
    maps = [_map(store, space, own) for space, own in commands.items()]
    return page(name, sections, maps, [own["command"] for own in commands.values()])


def _map(store: Reading, space: str, commands: Mapping[str, str]) -> bytes:
    """Return the packed map of a space: a stored one, or principal components, with the shares that it keeps."""
    found = find_map(store, space)
    return pack(found if found.kept is not None else replace(found, kept=kept_now(store, space)), commands)


def _drift(store: Reading, info: Table) -> Iterator[Section]:
    """Yield the section of the items that change most and least over the layers of a space."""
    options: dict[str, Any] = {"most": _N_CHANGED, **_sample(info, _MOST_SEARCHED)}
    try:
        found = store.drift(**options)
    except (QueryError, UsageError) as error:
        yield Section("drift", "drift", {}, problem=str(error))
        return
    intro = "The items whose nearest neighbours change most and least from layer to layer."
    yield Section("drift", "drift", {"drift": found}, intro=intro, commands=[command("drift", _folder(store), options)],
                  pictures=_pictures(found) if found.chart else ())  # fmt: skip


def _sample(info: Table, most: int) -> dict[str, Any]:
    """Return the options that draw a sample where a space has more items than a metric is computed over."""
    return {"sample": most} if max(info["items"]) > most else {}


def _folder(store: Reading) -> Path:
    """Return the store's folder as the commands name it, so that a report does not depend on where the store lies."""
    return Path(store.path.name)


def _contents(store: Reading, info: Table) -> Section:
    cards = {space: card.to_dict() for space, card in sorted(store.catalog.cards.items())}
    columns = list(dict.fromkeys(name for fields in cards.values() for name in fields))
    rows = [{name: fields.get(name) for name in columns} for fields in cards.values()]
    skipped = store.skipped()
    tables = {"spaces": info, "cards": table(rows, columns=columns)} | ({"skipped": skipped} if len(skipped) else {})
    return Section("store", "The store", tables, cards, commands=[command("info", _folder(store), {})])


def _reproduction(found: Table, name: str, store: Reading, options: Mapping[str, Any]) -> Section:
    """Return the section of the numbers of a paper: first what was measured, with its verdict."""
    first = ("figure", "variant", "model", "layer", "published", "measured", "verdict", "reason")
    columns = [*first, *(column for column in found.columns if column not in first)]
    order = {"miss": 0, "hit": 1, "not published": 2}
    rows = sorted(found.rows, key=lambda row: order.get(row["verdict"], len(order)))
    return Section(
        "reproduction", f"Reproduction of {name}", {"reproduction": table(rows, columns=columns)},
        intro="\n".join(found.notes), commands=[command("reproduce", _folder(store), options, (name,))],
    )  # fmt: skip


def _pictured(store: Reading, metric: Metric, info: Table) -> Iterator[Pictured]:
    """Yield the results of a metric that needs no words or files; none where it suits no space."""
    if metric.needs == "word sets":
        return
    options = _sample(info, _MOST_SEARCHED if metric.needs in ("neighbours", "layers") else _MOST_ITEMS)
    try:
        yield Pictured(metric, options, store.query(metric.name, **options))
    except (QueryError, UsageError) as error:
        if metric.needs not in ("pairs", "analogies", "lexicon", "contexts", "column"):
            yield Pictured(metric, options, str(error))


def _section(store: Reading, name: str, pictured: Pictured) -> Section:
    metric, options, result = pictured
    intro = f"{metric.help} {metric.citation}."
    commands = [command(f"{verb} {metric.name}", _folder(store), options)
                for verb in ("query", "plot")]  # fmt: skip
    if isinstance(result, str):
        return Section(metric.name, metric.name, {}, intro=intro, commands=commands, problem=result)
    return Section(metric.name, metric.name, {metric.name: result}, intro=intro, commands=commands,
                   pictures=_pictures(result))  # fmt: skip


def _pictures(result: Table) -> list[tuple[int, str]]:
    """Return the picture of a result for wide and for narrow windows, each with its width in pixels."""
    return [(width, result.plot(width=width, theme="screen").to_svg()) for width in (_WIDE, _NARROW)]
