"""Write tables in LaTeX."""

import re
from typing import TYPE_CHECKING

from embstore.base.messages import printable

if TYPE_CHECKING:
    from embstore.base.table import Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",  # noqa: E501
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip
_BEST = "\ue000"  # marks a cell until it is escaped; no printable text has it
_NUMBER = re.compile(r"[+-]?\d[\d,.]*(e[+-]?\d+)?( \[.*\])?|-")
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


def latex(table: "Table") -> str:
    r"""Return the printed layout of a table as a ``tabular`` with booktabs' rules.

    Intervals stand beside their values, the best value is bold, and the notes are comments above
    it. Requires ``\usepackage{booktabs}``.
    """
    header, lines = table.inline_intervals().layout(mark=lambda text: _BEST + text)
    columns = list(zip(*lines, strict=True)) if lines else [()] * len(header)
    sides = ["r" if column and all(map(_is_number, column)) else "l" for column in columns]
    rows = [" & ".join(map(_cell, line)) + r" \\" for line in lines]
    head = " & ".join(map(escaped, header)) + r" \\"
    body = [
        *(f"% {printable(note)}" for note in table.notes), rf"\begin{{tabular}}{{{''.join(sides)}}}",  # noqa: E501
        r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    return "\n".join(body) + "\n"


def escaped(text: str) -> str:
    """Return a text with LaTeX's special characters, and control characters, escaped."""
    return "".join(_SPECIAL.get(character, character) for character in printable(text))


def _is_number(cell: str) -> bool:
    return not cell or _NUMBER.fullmatch(cell.removeprefix(_BEST)) is not None


def _cell(cell: str) -> str:
    text = cell.removeprefix(_BEST)
    written = (
        "--"
        if text == "-"
        else _MINUS.sub("$-$", escaped(text))
        if _is_number(text)
        else escaped(text)
    )
    return rf"\textbf{{{written}}}" if cell.startswith(_BEST) else written
