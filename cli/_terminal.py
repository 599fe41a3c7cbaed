"""What a terminal gets: no control character but the line feed, whoever writes."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from embstore.base.escape import printable


class Escaped:
    """A text stream in which control characters are escaped: of warnings, logs and other packages' messages too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        self._stream.write(printable(text, lines=True))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def escape_terminals() -> None:
    """Escape control characters in standard output and standard error, where they are terminals.

    Tracebacks, which Python 3.13 and later colour there, stay without colours, whose codes would be escaped.
    """
    os.environ.setdefault("PYTHON_COLORS", "0")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty() and not isinstance(stream, Escaped):
            setattr(sys, name, Escaped(stream))
