"""Report on a store: what it holds, its metrics as pictures and tables, and an interactive map, in
one HTML file.
"""

import hashlib
import html
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from embstore.base import __version__
from embstore.base.csv_text import csv_lines
from embstore.base.errors import QueryError, UsageError
from embstore.base.messages import printable
from embstore.base.progress import task
from embstore.base.table import Table, table
from embstore.explore.items import Reading
from embstore.explore.maps import commands_of, find_map, kept_now, pack
from embstore.explore.rendering import Arguments, command, svg
from embstore.metrics import Metric, all_metrics
from embstore.query.layer_data import sharing_neighbours

_MOST_ITEMS = (
    20_000  # number of items of a space above which metrics are computed on a sample of as many
)
_MOST_SEARCHED = 10_000
"""The same for metrics that compare all items with all: their time grows with the square of this
number.
"""
_NEEDING_INPUT = ("word sets", "word contexts", "column", "labels")
_NEEDING_DATA = ("pairs", "analogies", "lexicon", "contexts", "order")
"""Inputs that not every store has: without them a metric has no section."""
_SLOW = ("imbalance", "predictivity")  # full ranks, or a regression, for each pair of layers
_WIDE, _NARROW = 720, 360
"""Widths of pictures in pixels: beside the list of sections, and in a window of a telephone's
width.
"""
_SCRIPTS = (
    "dom.js",
    "mapdata.js",
    "palette.js",
    "newtext.js",
    "overlay.js",
    "scatter.js",
    "report.js",
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src {script_hash}; style-src {style_hash}; img-src data:">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the contents</a>
<header><div class="brand"><span class="wordmark">embstore</span> <span>report on \
{name}</span></div></header>
<div class="report">
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main" tabindex="-1">
<h1>{title}</h1>
<p class="lead">Made by embstore {version}. Every table is in this file as CSV; the commands \
repeat it.</p>
{sections}
</main>
</div>
{maps}
<script>{script}</script>
</body>
</html>
"""
_MAP = """<section id="map"><h2>Map</h2>
<p>The items of a space in the plane, layer by layer. Distances in the plane are not distances in \
the space: the line
below says which share of the ten nearest neighbours the map keeps.</p>
<div class="row"><span class="pair"><label for="space">Space</label><select \
id="space"></select></span>
<span class="pair"><label for="find">Find</label><input id="find" type="search" list="found" \
autocomplete="off"></span>
<datalist id="found"></datalist></div>
<div class="row"><button id="play" type="button">Play</button><label for="layer">Layer</label>
<input id="layer" type="range" min="0" step="0.01" value="0"><output id="depth" \
for="layer"></output></div>
<div class="stage"><canvas id="plane" tabindex="0" role="img" aria-label="Map of the \
items"></canvas>
<canvas id="marks" aria-hidden="true"></canvas></div>
<p class="hint" id="kept"></p><p class="hint" id="place" aria-live="polite"></p>
<pre>{commands}</pre></section>"""

_LARGER = 1.6  # width of a window over that of a picture up to which the picture is shown in it


class Section(NamedTuple):
    """A section of the report."""

    anchor: str
    title: str
    tables: Mapping[str, Table]
    cards: Mapping[str, Mapping[str, Any]] = {}  # name → fields, to be folded out
    intro: str = ""
    commands: Sequence[str] = ()
    pictures: Sequence[str] = ()  # as SVG, for wide and for narrow windows
    problem: str = ""  # why there is no result


def report(
    store: Reading,
    reproduction: Table | None = None,
    recipe: str = "",
    options: Arguments | None = None,
    spaces: Sequence[str] = (),
) -> str:
    """Return the HTML of a report, which opens without a network.

    The same store, the same versions and the same number of threads give the same bytes.
    ``reproduction`` is a result of :meth:`Store.reproduce` that the report begins with, with the
    name and the options of its recipe. ``spaces`` are those that it is about; by default all.
    """
    info, chosen = store.info(spaces=spaces), {"spaces": [*spaces]} if spaces else {}
    if not len(info):
        raise QueryError("the store has no space to report on. Fill it with: embstore build")
    name = printable(store.path.name)
    sections = [_contents(store, info)]
    if reproduction is not None:
        sections.insert(0, _reproduction(reproduction, recipe, store, options or {}))
    # Drift has a section of its own, of the items that change most.
    metrics = [metric for metric in all_metrics()[0].values() if not metric.is_of_items]
    commands = {space: commands_of(store, space, folder=_folder(store)) for space in info["space"]}
    maps = []
    total = len(metrics) + 1 + len(commands)
    with task("report", name, total) as computing, sharing_neighbours():
        for metric in metrics:
            if metric.needs not in _NEEDING_INPUT and metric.name not in _SLOW:
                section = _metric(store, metric, info, chosen)
                if not section.problem or metric.needs not in _NEEDING_DATA:
                    sections.append(section)
            computing.finish()
        sections.append(_drift(store, info, chosen))
        computing.finish()
        for space, calls in commands.items():
            shown = find_map(store, space)
            kept = kept_now(store, space) if shown.kept is None else shown.kept
            maps.append(pack(replace(shown, kept=kept), calls))
            computing.finish()
    return _page(name, sections, maps, [calls["command"] for calls in commands.values()])


def _drift(store: Reading, info: Table, chosen: Arguments) -> Section:
    """Return the section of the items that change most and least over the layers of a space."""
    options = {**chosen, **_sample(info, _MOST_SEARCHED)}
    intro = "The items whose nearest neighbours change most and least from layer to layer."
    commands = [command("drift", _folder(store), options)]
    section = Section("drift", "drift", {}, intro=intro, commands=commands)
    return _with_result(section, partial(store.drift, **options))


def _sample(info: Table, most: int) -> dict[str, Any]:
    """Return the options that draw a sample where a space has more items than a metric is computed
    over.
    """
    return {"sample": most} if max(info["items"]) > most else {}


def _folder(store: Reading) -> Path:
    """Return the store's folder as the commands name it, so that a report does not depend on where
    the store lies.
    """
    return Path(store.path.name)


def _contents(store: Reading, info: Table) -> Section:
    cards = {space: store.catalog.cards[space].to_dict() for space in sorted(info["space"])}
    skipped = store.skipped()
    listed = [row for row in skipped if row["space"] in (None, *cards)]
    skipped = replace(skipped, rows=tuple(listed))
    tables = {"spaces": info}
    if len(skipped):
        tables["skipped"] = skipped
    return Section(
        "store", "The store", tables, cards, commands=[command("info", _folder(store), {})]
    )


def _reproduction(result: Table, name: str, store: Reading, options: Arguments) -> Section:
    """Return the section of the numbers of a paper: first what was measured, with its verdict."""
    first = ("figure", "variant", "model", "layer", "published", "measured", "verdict", "reason")
    columns = [*first, *(column for column in result.columns if column not in first)]
    order = {"miss": 0, "hit": 1, "not published": 2}
    rows = sorted(result.rows, key=lambda row: order.get(row["verdict"], len(order)))
    return Section(
        "reproduction",
        f"Reproduction of {name}",
        {"reproduction": table(rows, columns=columns)},
        intro="\n".join(result.notes),
        commands=[command("reproduce", _folder(store), options, (name,))],
    )


def _metric(store: Reading, metric: Metric, info: Table, chosen: Arguments) -> Section:
    """Return the section of a metric."""
    most = _MOST_SEARCHED if metric.needs in ("neighbours", "layers") else _MOST_ITEMS
    options = {**chosen, **_sample(info, most)}
    intro = f"{metric.help} {metric.citation}."
    commands = [
        command(f"{verb} {metric.name}", _folder(store), options) for verb in ("query", "plot")
    ]
    section = Section(metric.name, metric.name, {}, intro=intro, commands=commands)
    return _with_result(section, partial(store.query, metric.name, **options))


def _with_result(section: Section, compute: Callable[[], Table]) -> Section:
    """Return a section with the table of a result and its picture for wide and for narrow windows,
    or with the reason why there is none.
    """
    try:
        result = compute()
    except (QueryError, UsageError) as error:
        return section._replace(problem=str(error))
    pictures = [svg(result, width, style="screen") for width in (_WIDE, _NARROW)]
    return section._replace(tables={section.anchor: result}, pictures=pictures)


def _page(
    name: str, sections: Sequence[Section], maps: Iterable[bytes], map_commands: Iterable[str]
) -> str:
    """Return the page."""
    style = f"{_static('style.css')}\n{_static('report.css')}"
    script = "\n".join(map(_classic, _SCRIPTS))
    blocks = [
        f'<script type="text/plain" class="map">{b64encode(packed).decode()}</script>'
        for packed in maps
    ]
    body = [_section_html(section) for section in sections]
    entries = [(section.anchor, section.title) for section in sections]
    place = [section.anchor for section in sections].index("store") + 1
    body.insert(place, _MAP.format(commands=_text("\n".join(map_commands))))
    entries.insert(place, ("map", "Map"))
    return _PAGE.format(
        title=f"Report on {_text(name)}",
        name=_text(name),
        version=__version__,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        maps="\n".join(blocks),
        sections="\n".join(body),
        links="".join(
            f'<li><a href="#{anchor}">{_text(title)}</a></li>' for anchor, title in entries
        ),
    )


def _section_html(section: Section) -> str:
    parts = [f'<section id="{section.anchor}"><h2>{_text(section.title)}</h2>']
    if section.intro:
        parts += [f"<p>{_text(line)}</p>" for line in section.intro.splitlines()]
    if section.problem:
        parts.append(f'<p class="error">{_text(section.problem)}</p>')
    if section.pictures:
        parts.append(_figure(section))
    parts += [
        _table(result, name, is_open=not section.pictures)
        for name, result in section.tables.items()
    ]
    parts += [_card(name, fields) for name, fields in section.cards.items()]
    if section.commands:
        parts.append(f"<pre>{_text(chr(10).join(section.commands))}</pre>")
    return "\n".join([*parts, "</section>"])


def _figure(section: Section) -> str:
    """Return the pictures of a section, of which the browser shows the one that suits its
    window.
    """
    wide, narrow = map(_address, section.pictures)
    source = f'<source media="(max-width: {_LARGER * _NARROW:.0f}px)" srcset="{narrow}">'
    image = f'<img alt="Picture of {_text(section.title)}" src="{wide}">'
    return f"<figure><picture>{source}{image}</picture></figure>"


def _address(picture: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}"


def _table(result: Table, name: str, *, is_open: bool) -> str:
    rows = ([row[column] for column in result.columns] for row in result)
    data = b64encode("".join(csv_lines(result.columns, rows)).encode()).decode()
    link = f'<a download="{name}.csv" href="data:text/csv;base64,{data}">{name}.csv</a>'
    shown = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of'
        f' {name}">{result._repr_html_()}</div>'
    )
    title = f"Table of {name.replace('-', ' ')}"
    is_shown = " open" if is_open else ""
    return f"<details{is_shown}><summary>{_text(title)}</summary>{shown}<p>{link}</p></details>"


def _card(name: str, fields: Mapping[str, Any]) -> str:
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()
    }
    rows = "".join(f"<dt>{_text(key)}</dt><dd>{_text(text)}</dd>" for key, text in texts.items())
    return (
        f'<details><summary>Card of {_text(name)}</summary><dl class="card">{rows}</dl></details>'
    )


def _static(name: str) -> str:
    return (resources.files("embstore.explore") / "static" / name).read_text("utf-8")


def _classic(name: str) -> str:
    """Return a module of the page as part of a script: without imports, and exports as plain
    declarations.
    """
    lines = [line for line in _static(name).splitlines() if not line.startswith("import ")]
    return "\n".join(line.removeprefix("export ") for line in lines)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    return html.escape(printable(text, lines=True))
