"""Read word2vec's binary format: a line of two numbers, then a key, a space and float32 numbers for each vector."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from embstore.base.errors import SourceError
from embstore.interop.files import check_regular, open_stream
from embstore.interop.readers.word2vec import first_line, not_utf8, parse_header
from embstore.interop.vector_file import BLOCK_BYTES, Block, ReadOptions, VectorFile

_MAX_DIM = 1 << 20
_MAX_KEY = 1 << 16


def open_word2vec_binary(path: Path, _: ReadOptions) -> VectorFile:
    """Open a file of word2vec's binary format."""
    check_regular(path)
    with open_stream(path) as stream:
        header = parse_header(first_line(stream, path))
    if header is None or not header[0] or not 0 < header[1] <= _MAX_DIM:
        raise SourceError(
            f"{path} does not begin with the header of word2vec's binary format, which is two whole numbers: vectors "
            "and "
            "dimension. Check the format, or name another with ⦃as⦄."
        )
    n, dim = header
    return VectorFile(str(path), "word2vec-binary", 1, dim, "<f4", lambda: _blocks(path, n, dim), hashed=(path,), n=n)


def _blocks(path: Path, n: int, dim: int) -> Iterator[Block]:
    """Yield the rows of a file.

    Args:
        path: File.
        n: Number of vectors by its header.
        dim: Number of components of a vector.
    """
    n_bytes = 4 * dim
    done = 0
    keys: list[bytes] = []
    vectors: list[bytes] = []
    with open_stream(path) as stream:
        stream.readline()
        data, position = b"", 0
        while done < n:
            space = data.find(b" ", position)
            if space < 0 or len(data) < space + 1 + n_bytes:
                if keys:
                    yield _block(keys, vectors, dim, path, done - len(keys) + 1)
                    keys, vectors = [], []
                more = stream.read(max(BLOCK_BYTES, n_bytes))
                data, position = data[position:] + more, 0
                if not more or (space < 0 and len(data) > _MAX_KEY + len(more)):
                    raise SourceError(
                        f"{path}: its header says {n:,} vectors, and it ends within number {done + 1:,}. It was cut, "
                        "or its "
                        "keys have spaces: copy it again, or give the vectors in another format."
                    )
                continue
            keys.append(data[position:space].lstrip(b"\n"))
            vectors.append(data[space + 1 : space + 1 + n_bytes])
            position = space + 1 + n_bytes
            done += 1
        if keys:
            yield _block(keys, vectors, dim, path, done - len(keys) + 1)
        if (data[position:] + stream.read(2)).strip(b"\n"):
            raise SourceError(
                f"{path}: its header says {n:,} vectors, and there is more after them. Its header is wrong, or its "
                "keys have "
                "spaces: give the vectors in another format."
            )


def _block(keys: list[bytes], vectors: list[bytes], dim: int, path: Path, first: int) -> Block:
    """Return a block of keys and of vectors as bytes."""
    try:
        texts = [key.decode() for key in keys]
    except UnicodeDecodeError:
        raise not_utf8(keys, path, first) from None
    return Block(texts, np.frombuffer(b"".join(vectors), "<f4").reshape(1, len(keys), dim), first)
