"""Messages for users: reports of what a command did, and texts that a terminal can show.

Control characters of texts are escaped before they are shown, since a terminal would obey them.
"""

import re
from collections.abc import Iterable


class Report:
    """What a command did, in sentences: a dataclass with notes."""

    __slots__ = ()
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report in sentences, the summary last."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return printable("\n".join([*self.lines(), *self.notes]), lines=True)

    def _repr_html_(self) -> str:
        import html  # whose table of names takes longer to load than a short report

        return "".join(
            f"<p>{html.escape(printable(line))}</p>" for line in [*self.lines(), *self.notes]
        )


class Note(str):
    """A note with a shorter form, for a terminal."""

    brief: str


def brief(note: str) -> str:
    """Return the shorter form of a note, if it has one."""
    return note.brief if isinstance(note, Note) else note


_CONTROLS = "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of them
_LINES = "\u2028\u2029"
_BIDI = "\u202a-\u202e\u2066-\u2069"  # they reorder the text that follows
_SURROGATES = "\ud800-\udfff"  # UTF-8 has none
_UNSAFE = f"{_CONTROLS}{_LINES}{_BIDI}{_SURROGATES}"
# Compiled at first use: not every command needs them.
_ALL, _ALL_BUT_LINE_FEEDS = (f"[{_UNSAFE}]", f"(?!\n)[{_UNSAFE}]")


def is_utf8(text: str) -> bool:
    """Return whether a name of the operating system is UTF-8: the bytes of another are
    surrogates.
    """
    return re.search(f"[{_SURROGATES}]", text) is None


def printable(text: str, *, lines: bool = False) -> str:
    r"""Escape the control characters of a text, as in ``\x1b``; all other characters stay.

    Escaped are the C0 and C1 controls, line and paragraph separators, bidirectional embeddings,
    overrides and isolates, and lone surrogates. Joiners (ZWJ, ZWNJ) stay, since words and emoji are
    spelt with them.
    """
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_ALL_BUT_LINE_FEEDS if lines else _ALL, _escape, text)


MOST_NAMED = 20
"""Names that a note lists at most."""


def first_of(names: Iterable[object], n: int = 5) -> str:
    """Return the first names, separated by commas, and the number of the others."""
    shown = [*map(str, names)]
    more = f" and {len(shown) - n:,} more" if len(shown) > n else ""
    return ", ".join(shown[:n]) + more


def count(n: int, noun: str, plural: str = "s") -> str:
    """Return a number with its noun: ``1 row``, ``2 rows``."""
    return f"{n:,} {noun}{'' if n == 1 else plural}"


def printable_json(document: str) -> str:
    r"""Escape the control characters in a JSON document as in ``\u009b``; its content stays the
    same.
    """
    return re.sub(_ALL_BUT_LINE_FEEDS, lambda match: f"\\u{ord(match[0]):04x}", document)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
