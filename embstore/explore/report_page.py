"""Write the HTML of a report: one file with styles, scripts, pictures, tables and maps inside."""

import csv
import hashlib
import html
import io
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from embstore.base import __version__
from embstore.base.escape import printable
from embstore.base.table import Table

_SCRIPTS = ("dom.js", "mapdata.js", "palette.js", "newtext.js", "overlay.js", "scatter.js", "report.js")
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
<header><div class="brand"><span class="wordmark">embstore</span> <span>report on {name}</span></div></header>
<div class="report">
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main" tabindex="-1">
<h1>{title}</h1>
<p class="lead">Made by embstore {version}. Every table is in this file as CSV; the commands repeat it.</p>
{sections}
</main>
</div>
{maps}
<script>{script}</script>
</body>
</html>
"""
_MAP = """<section id="map"><h2>Map</h2>
<p>The items of a space in the plane, layer by layer. Distances in the plane are not distances in the space: the line
below says which share of the ten nearest neighbours the map keeps.</p>
<div class="row"><span class="pair"><label for="space">Space</label><select id="space"></select></span>
<span class="pair"><label for="find">Find</label><input id="find" type="search" list="found" autocomplete="off"></span>
<datalist id="found"></datalist></div>
<div class="row"><button id="play" type="button">Play</button><label for="layer">Layer</label>
<input id="layer" type="range" min="0" step="0.01" value="0"><output id="depth" for="layer"></output></div>
<div class="stage"><canvas id="plane" tabindex="0" role="img" aria-label="Map of the items"></canvas>
<canvas id="marks" aria-hidden="true"></canvas></div>
<p class="hint" id="kept"></p><p class="hint" id="place" aria-live="polite"></p>
<pre>{commands}</pre></section>"""

_LARGER = 1.6
"""Width of a window over that of a picture up to which the picture is shown in it."""


class Section(NamedTuple):
    """A section of the report.

    Attributes:
        anchor: Its anchor in the page.
        title: Its heading.
        tables: Its tables, by their names.
        cards: Name → fields, to be folded out.
        intro: Text below the heading.
        commands: Commands that give the same.
        pictures: Its picture as SVG, for windows from the widest to the narrowest, each with its width in pixels.
        problem: Reason why there is no result; empty if there is one.
    """

    anchor: str
    title: str
    tables: Mapping[str, Table]
    cards: Mapping[str, Mapping[str, Any]] = {}
    intro: str = ""
    commands: Sequence[str] = ()
    pictures: Sequence[tuple[int, str]] = ()
    problem: str = ""


def page(name: str, sections: Sequence[Section], maps: Iterable[bytes], map_commands: Iterable[str]) -> str:
    """Return the page.

    Args:
        name: Name of the store.
        sections: Sections, in order.
        maps: Packed map of each space; see :func:`embstore.explore.packing.pack`.
        map_commands: Commands that make these maps.
    """
    style = f"{_static('style.css')}\n{_static('report.css')}"
    script = "\n".join(map(_classic, _SCRIPTS))
    blocks = [f'<script type="text/plain" class="map">{b64encode(packed).decode()}</script>' for packed in maps]
    body = [_section(section) for section in sections]
    entries = [(section.anchor, section.title) for section in sections]
    place = [section.anchor for section in sections].index("store") + 1
    body.insert(place, _MAP.format(commands=_text("\n".join(map_commands))))
    entries.insert(place, ("map", "Map"))
    return _PAGE.format(
        title=f"Report on {_text(name)}", name=_text(name), version=__version__, style=style, script=script,
        style_hash=_hash(style), script_hash=_hash(script), maps="\n".join(blocks), sections="\n".join(body),
        links="".join(f'<li><a href="#{anchor}">{_text(title)}</a></li>' for anchor, title in entries),
    )  # fmt: skip


def _section(section: Section) -> str:
    parts = [f'<section id="{section.anchor}"><h2>{_text(section.title)}</h2>']
    if section.intro:
        parts += [f"<p>{_text(line)}</p>" for line in section.intro.splitlines()]
    if section.problem:
        parts.append(f'<p class="error">{_text(section.problem)}</p>')
    if section.pictures:
        parts.append(_figure(section))
    parts += [
        _table(each, name, is_open=not section.pictures and name != "cards") for name, each in section.tables.items()
    ]
    parts += [_card(name, fields) for name, fields in section.cards.items()]
    if section.commands:
        parts.append(f"<pre>{_text(chr(10).join(section.commands))}</pre>")
    return "\n".join([*parts, "</section>"])


def _figure(section: Section) -> str:
    """Return the pictures of a section, of which the browser shows the one that suits its window."""
    (_, widest), *narrower = section.pictures
    sources = [
        f'<source media="(max-width: {_LARGER * width:.0f}px)" srcset="{_address(picture)}">'
        for width, picture in reversed(narrower)
    ]
    image = f'<img alt="Picture of {_text(section.title)}" src="{_address(widest)}">'
    return f"<figure><picture>{''.join(sources)}{image}</picture></figure>"


def _address(picture: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}"


def _table(found: Table, name: str, *, is_open: bool) -> str:
    data = b64encode(_csv(found).encode()).decode()
    link = f'<a download="{name}.csv" href="data:text/csv;base64,{data}">{name}.csv</a>'
    shown = f'<div class="scroll" tabindex="0" role="region" aria-label="Table of {name}">{found._repr_html_()}</div>'
    title = f"Table of {name.replace('-', ' ')}"
    return f"<details{' open' if is_open else ''}><summary>{_text(title)}</summary>{shown}<p>{link}</p></details>"


def _card(name: str, fields: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{_text(key)}</dt><dd>{_text(value if isinstance(value, str) else json.dumps(value))}</dd>"
        for key, value in fields.items()
    )
    return f'<details><summary>Card of {_text(name)}</summary><dl class="card">{rows}</dl></details>'


def _csv(found: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found.columns)
    for row in found:
        values = (row[column] for column in found.columns)
        writer.writerow(json.dumps(value) if isinstance(value, list | dict) else value for value in values)
    return text.getvalue()


def _static(name: str) -> str:
    return (resources.files("embstore.explore") / "static" / name).read_text("utf-8")


def _classic(name: str) -> str:
    """Return a module of the page as part of a script: without imports, and exports as plain declarations."""
    lines = [line for line in _static(name).splitlines() if not line.startswith("import ")]
    return "\n".join(line.removeprefix("export ") for line in lines)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    return html.escape(printable(text, lines=True))
