"""Write tables in LaTeX."""

import re
from collections.abc import Sequence

from embstore.base.messages import printable

_BEST = "\ue000"  # marks a cell until it is escaped; no printable text has it
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
_NUMBER = re.compile(r"[+-]?\d[\d,.]*(e[+-]?\d+)?( \[.*\])?|-")
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


def mark(text: str) -> str:
    """Return a cell that is printed in bold."""
    return _BEST + text


def latex(header: Sequence[str], lines: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    r"""Return the printed layout of a table as a ``tabular`` with booktabs' rules.

    Cells with a :func:`mark` are bold, and the notes are comments above it.
    Requires ``\usepackage{booktabs}``.
    """
    columns = list(zip(*lines, strict=True)) if lines else [()] * len(header)
    sides = ["r" if column and all(map(_is_number, column)) else "l" for column in columns]
    rows = [" & ".join(map(_cell, line)) + r" \\" for line in lines]
    head = " & ".join(map(escaped, header)) + r" \\"
    body = [
        *(f"% {printable(note)}" for note in notes),
        rf"\begin{{tabular}}{{{''.join(sides)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(body) + "\n"


def escaped(text: str) -> str:
    """Return a text with LaTeX's special characters, and control characters, escaped."""
    return "".join(_SPECIAL.get(character, character) for character in printable(text))


def _is_number(cell: str) -> bool:
    return not cell or _NUMBER.fullmatch(cell.removeprefix(_BEST)) is not None


def _cell(cell: str) -> str:
    text = cell.removeprefix(_BEST)
    written = escaped(text)
    if text == "-":
        written = "--"
    elif _is_number(text):
        written = _MINUS.sub("$-$", written)
    return rf"\textbf{{{written}}}" if cell.startswith(_BEST) else written
