"""What a terminal must never get from a text: the one rule for all that is shown to a user."""

import re

_CONTROLS = "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of them
_LINES = "\u2028\u2029"
_BIDI = "\u202a-\u202e\u2066-\u2069"  # they change the order in which what follows is shown
_SURROGATES = "\ud800-\udfff"  # UTF-8 has none
_UNSAFE = f"{_CONTROLS}{_LINES}{_BIDI}{_SURROGATES}"
_ALL, _ALL_BUT_LINE_FEEDS = re.compile(f"[{_UNSAFE}]"), re.compile(f"(?!\n)[{_UNSAFE}]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text with its control characters escaped, as in ``\x1b``; all others stay.

    Escaped are the C0 and C1 controls, the separators of lines and paragraphs, the embeddings, overrides and isolates
    of bidirectional text, and lone surrogates. Joiners (ZWJ, ZWNJ) stay, since words and emoji are spelt with them.

    Args:
        text: A text from anywhere.
        lines: Whether line feeds stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return (_ALL_BUT_LINE_FEEDS if lines else _ALL).sub(_escape, text)


def printable_json(document: str) -> str:
    r"""Return a JSON document of the same content, in which control characters are escaped as in ``\u009b``."""
    return _ALL_BUT_LINE_FEEDS.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
