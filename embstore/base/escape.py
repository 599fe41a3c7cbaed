"""Escape the control characters of texts before they are shown, since a terminal would obey them."""

import re

_CONTROLS = "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of them
_LINES = "\u2028\u2029"
_BIDI = "\u202a-\u202e\u2066-\u2069"  # they reorder the text that follows
_SURROGATES = "\ud800-\udfff"  # UTF-8 has none
_UNSAFE = f"{_CONTROLS}{_LINES}{_BIDI}{_SURROGATES}"
_ALL, _ALL_BUT_LINE_FEEDS = f"[{_UNSAFE}]", f"(?!\n)[{_UNSAFE}]"  # compiled at first use: not every command needs them


def is_utf8(text: str) -> bool:
    """Return whether a name of the operating system is UTF-8: the bytes of another are surrogates."""
    return re.search(f"[{_SURROGATES}]", text) is None


def printable(text: str, *, lines: bool = False) -> str:
    r"""Escape the control characters of a text, as in ``\x1b``; all other characters stay.

    Escaped are the C0 and C1 controls, line and paragraph separators, bidirectional embeddings, overrides and isolates,
    and lone surrogates. Joiners (ZWJ, ZWNJ) stay, since words and emoji are spelt with them.
    """
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_ALL_BUT_LINE_FEEDS if lines else _ALL, _escape, text)


def printable_json(document: str) -> str:
    r"""Escape the control characters in a JSON document as in ``\u009b``; its content stays the same."""
    return re.sub(_ALL_BUT_LINE_FEEDS, lambda match: f"\\u{ord(match[0]):04x}", document)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
