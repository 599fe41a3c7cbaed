"""Read the texts that an export of embstore stores as tensors: their UTF-8 in one, and where each ends in another."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from embstore.base.errors import SourceError
from embstore.base.text import Span
from embstore.interop.readers.raw_array import RawArray
from embstore.interop.vector_file import Block

_NO_VECTORS = np.empty((1, 0, 0), np.float32)


def stored_text_blocks(arrays: Mapping[str, RawArray], name: str, rows: int) -> Iterator[Block]:
    """Yield the texts, some rows at a time, without vectors; of occurrences with their sentences and spans.

    Args:
        arrays: Arrays by name: ``texts`` (bytes), ``text_offsets`` (n + 1), for occurrences also ``contexts``,
            ``context_offsets`` (n + 1), ``starts`` (n) and ``ends`` (n).
        name: Name of the file in messages.
        rows: Number of texts of a block.
    """
    if "text_offsets" not in arrays:
        raise SourceError(f"{name} has texts without text_offsets. Name a file with the texts: ⦃texts=FILE⦄")
    n = arrays["text_offsets"].shape[0] - 1
    has_spans = {"contexts", "context_offsets", "starts", "ends"} <= {*arrays}
    for start in range(0, n, rows):
        end = min(start + rows, n)
        texts = _strings(arrays["texts"], arrays["text_offsets"], start, end, name)
        if not has_spans:
            yield Block(texts, _NO_VECTORS, start + 1)
            continue
        contexts = _strings(arrays["contexts"], arrays["context_offsets"], start, end, name)
        pairs = zip(_flat(arrays["starts"], start, end), _flat(arrays["ends"], start, end), strict=True)
        yield Block(texts, _NO_VECTORS, start + 1, contexts, [Span(*pair) for pair in pairs])


def _strings(data: RawArray, offsets: RawArray, start: int, end: int, name: str) -> list[str]:
    """Return the strings of some rows."""
    bounds = _flat(offsets, start, end + 1)
    if any(a > b for a, b in pairwise(bounds)) or not 0 <= bounds[0] <= bounds[-1] <= data.shape[0]:
        raise SourceError(f"{name} is damaged: its texts end in no order. Copy it again.")
    if bounds[-1] == bounds[0]:
        return [""] * (end - start)
    whole = np.array(np.memmap(data.path, data.dtype, "r", data.offset, data.shape)[bounds[0] : bounds[-1]]).tobytes()
    try:
        return [whole[a - bounds[0] : b - bounds[0]].decode() for a, b in pairwise(bounds)]
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is damaged: its texts are not UTF-8 ({error.reason}). Copy it again.") from error


def _flat(array: RawArray, start: int, end: int) -> list[int]:
    found: list[int] = np.memmap(array.path, array.dtype, "r", array.offset, array.shape)[start:end].tolist()
    return found
