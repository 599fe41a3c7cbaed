"""What the tests of sources share: how a file is written, and the texts of a source."""

from collections.abc import Callable

from embstore.sources.rows import Row
from embstore.sources.source import Source

Write = Callable[[str, str | bytes], str]


def texts(source: Source) -> list[str]:
    return [row.text for row in source.rows() if isinstance(row, Row)]
