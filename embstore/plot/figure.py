"""Figure: a picture as a Vega-Lite specification, and its renderings."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embstore.base.errors import UsageError
from embstore.plot.conversion import convert

_PRINT_PPI = 300
_ID = re.compile(r"\b(gradient_|clip)(\d+)\b")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<script>{libraries}</script>
</head>
<body>
<div id="figure"></div>
<script>
const spec = {spec};
vegaEmbed("#figure", spec, {{
  renderer: "svg", actions: {{export: true, source: false, compiled: false, editor: false}},
}});
</script>
</body>
</html>
"""
SUFFIXES = (".svg", ".png", ".pdf", ".html", ".vl.json")
"""File types that ``Figure.save`` writes."""


@dataclass(frozen=True)
class Figure:
    """A picture of results.

    Attributes:
        spec: Vega-Lite specification, with the data in it.
        notes: Notes on what is drawn, for the reader.
    """

    spec: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the specification as JSON."""
        return json.dumps(self.spec, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def to_svg(self) -> str:
        """Return the picture as SVG, with text as text.

        Raises:
            UsageError: The extra ``plot`` is not installed.
        """
        drawn = str(convert("vegalite_to_svg", vl_spec=dict(self.spec)))
        numbers: dict[str, str] = {}  # the ids of gradients and clips count on from picture to picture of a process
        return _ID.sub(lambda found: f"{found[1]}{numbers.setdefault(found[0], str(len(numbers)))}", drawn)

    def to_png(self) -> bytes:
        """Return the picture as PNG, at 300 pixels an inch of its printed size. Raises: as ``to_svg``."""
        return bytes(convert("vegalite_to_png", vl_spec=dict(self.spec), scale=_PRINT_PPI / 96))

    def to_pdf(self) -> bytes:
        """Return the picture as PDF, with text as text. Raises: as ``to_svg``."""
        return bytes(convert("vegalite_to_pdf", vl_spec=dict(self.spec)))

    def to_html(self) -> str:
        """Return an interactive page that needs no network. Raises: as ``to_svg``."""
        import html  # loads a table of all entities, which the other types do not need

        libraries = convert("javascript_bundle")
        title = html.escape(" ".join(self._title))
        return _PAGE.format(title=title, libraries=libraries, spec=self.to_json().replace("<", "\\u003c"))

    @property
    def _title(self) -> list[str]:
        found = self.spec.get("title", {}).get("text", [])
        return [found] if isinstance(found, str) else list(found)

    def save(self, path: "str | Path") -> None:
        """Write the picture to a file, whose suffix chooses the type: see ``SUFFIXES``.

        Raises:
            UsageError: The suffix is another one, the file cannot be written, or the extra ``plot`` is not installed,
                which all types but ``.vl.json`` need.
        """
        encoders: dict[str, Callable[[], str | bytes]] = {
            ".svg": self.to_svg, ".png": self.to_png, ".pdf": self.to_pdf, ".html": self.to_html,
            ".vl.json": self.to_json,
        }  # fmt: skip
        data = encoders[file_type(path)]()
        try:
            Path(path).write_bytes(data.encode() if isinstance(data, str) else data)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}. Name another file.") from error

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return the picture for a notebook: its specification, and as SVG where the extra ``plot`` is installed."""
        bundle: dict[str, Any] = {"application/vnd.vegalite.v6+json": dict(self.spec), "text/plain": repr(self)}
        return bundle | ({"image/svg+xml": self.to_svg()} if find_spec("vl_convert") else {})

    def __repr__(self) -> str:
        return f"<Figure {' '.join(self._title)!r}: .save('figure.svg'), .spec>"


def file_type(path: "str | Path") -> str:
    """Return the type of picture of a file, one of ``SUFFIXES``.

    Raises:
        UsageError: The name ends otherwise.
    """
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise UsageError(f"{path}: unknown type of picture. Known: {', '.join(SUFFIXES)}.")
