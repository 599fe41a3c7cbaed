"""Render a specification by vl-convert, exactly as wide as requested, as files that say what they
show.

A picture is rendered, measured, and rendered again with panels that are wider or narrower by the
difference. PNG and PDF are made from the same SVG. A file has the title and the description of the
figure: SVG in ``desc``, PNG in text chunks, PDF in its document information.
"""

import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from embstore.base.installation import needing

_VEGA_LITE = "6.1"
_PRINT_PPI = 300
_UNITS = {"mm": 25.4 / 96, "px": 1.0, "pt": 72 / 96}  # of a CSS pixel
_NARROWEST_PANEL = 40.0
_MOST_FITS = 3  # one, but for panels whose edges Vega rounds
_ID = re.compile(r"\b(gradient_|clip)(\d+)\b")
_SIZE = re.compile(
    r'width="([\d.]+)" height="([\d.]+)" viewBox="[^"]*">(?:<rect [^>]* fill="([^"]+)"/>)?'
)


def convert(name: str, **arguments: Any) -> Any:
    """Return what a function of vl-convert returns."""
    more = ". A specification needs nothing more: name a file that ends in .vl.json"
    with needing("pictures are drawn by vl-convert-python", "plot", more=more):
        import vl_convert
    versions = {} if name.startswith("svg") else {"vl_version": _VEGA_LITE}
    return getattr(vl_convert, name)(**versions, **arguments)


def escaped(text: str) -> str:
    """Return a text as content of an element; the module ``html`` would load a table of all
    entities.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def svg(
    spec: Mapping[str, Any],
    width: float | None,
    description: str,
    *,
    unit: str = "mm",
    on_paper: bool = False,
) -> str:
    """Return a specification as SVG, with text as text.

    Its size is in millimetres, or without a unit in pixels or points. On paper it has no
    background, which viewers on a screen then still show as white.
    """
    drawn = _rendered(spec)
    for _ in range(_MOST_FITS if width is not None else 0):
        if abs(missing := (width or 0) - _size(drawn)[0]) < 0.05:
            break
        spec = _widened(spec, missing)
        drawn = _rendered(spec)
    found, height = _size(drawn)
    width = width or found
    scale = min(
        1.0, width / found
    )  # narrower than the texts of a panel need: all of it is made smaller
    box = (width / scale, height)
    size = [f"{side * scale * _UNITS[unit]:.4f}{unit if unit == 'mm' else ''}" for side in box]

    def head(match: re.Match[str]) -> str:
        background = (
            f'<rect width="{box[0]:g}" height="{box[1]:g}" fill="{match[3]}"/>' if match[3] else ""
        )
        paper = ' style="background:white"' if on_paper else ""
        return (
            f'width="{size[0]}" height="{size[1]}" viewBox="0 0 {box[0]:.4f} {box[1]:.4f}"{paper}>'
            f"<desc>{escaped(description)}</desc>{'' if on_paper else background}"
        )

    return _SIZE.sub(head, drawn, count=1)


def _rendered(spec: Mapping[str, Any]) -> str:
    drawn = str(convert("vegalite_to_svg", vl_spec=dict(spec)))
    numbers: dict[
        str, str
    ] = {}  # the ids of gradients and clips count on from picture to picture of a process
    return _ID.sub(
        lambda found: f"{found[1]}{numbers.setdefault(found[0], str(len(numbers)))}", drawn
    )


def _size(drawn: str) -> tuple[float, float]:
    """Return width and height of an SVG of Vega, in CSS pixels."""
    found = _SIZE.search(drawn)
    assert found is not None
    return float(found[1]), float(found[2])


def _widened(spec: Mapping[str, Any], missing: float) -> dict[str, Any]:
    """Return a specification whose rows of panels are together wider by so many pixels, or
    narrower.
    """
    if "concat" not in spec:
        return {**spec, "width": max(_NARROWEST_PANEL, spec["width"] + missing)}
    more = missing / min(spec["columns"], len(spec["concat"]))
    return {**spec, "concat": [_widened(panel, more) for panel in spec["concat"]]}


def png(drawn: str, texts: Mapping[str, str]) -> bytes:
    """Return an SVG with a size in pixels as PNG at 300 pixels an inch, which it states, on a
    background.
    """
    white = re.sub(
        r"(</desc>)", r'\1<rect width="100%" height="100%" fill="white"/>', drawn, count=1
    )
    image = bytes(convert("svg_to_png", svg=white, scale=72 / 96, ppi=_PRINT_PPI))
    end_of_header = 8 + 25  # signature and IHDR
    chunks = b"".join(
        _chunk(name.encode() + b"\0\0\0\0\0" + text.encode()) for name, text in texts.items()
    )
    return image[:end_of_header] + chunks + image[end_of_header:]


def _chunk(data: bytes) -> bytes:
    """Return a chunk ``iTXt`` of a PNG: text in UTF-8."""
    named = b"iTXt" + data
    return struct.pack(">I", len(data)) + named + struct.pack(">I", zlib.crc32(named))


def pdf(drawn: str, texts: Mapping[str, str]) -> bytes:
    """Return an SVG with a size in points as PDF, with text as text, and texts as its document
    information.
    """
    document = bytes(convert("svg_to_pdf", svg=drawn))
    end = document[document.rindex(b"trailer") :]
    found = [
        re.search(pattern, end)
        for pattern in (rb"/Size (\d+)", rb"/Root (\d+ \d+ R)", rb"startxref\s+(\d+)")
    ]
    size, root, before = (match[1].decode() for match in found if match is not None)
    entries = " ".join(
        f"/{name} <{(chr(0xFEFF) + text).encode('utf-16-be').hex()}>"
        for name, text in texts.items()
    )
    separator = b"" if document.endswith(b"\n") else b"\n"
    at = len(document) + len(separator)
    added = f"{size} 0 obj\n<< {entries} >>\nendobj\n"
    update = (
        f"{added}xref\n{size} 1\n{at:010} 00000 n\r\ntrailer\n<< /Size {int(size) + 1} /Root {root}"
        f" /Info {size} 0 R /Prev {before} >>\nstartxref\n{at + len(added)}\n%%EOF\n"
    )
    return document + separator + update.encode()
