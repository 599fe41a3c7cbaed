"""Read word2vec's text format, GloVe's, and fastText's .vec: a key and its numbers on each line;
and word2vec's binary.

word2vec and fastText begin with a line of two numbers, the vectors and their dimension; GloVe does
not. In the binary format a key, a space and float32 numbers follow.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from embstore.base.arrays import slices
from embstore.base.errors import SourceError
from embstore.interop.vector_file import (
    MAX_DIM,
    Block,
    ReadOptions,
    VectorFile,
    check_regular,
    rows_per_block,
)
from embstore.sources.files import open_decompressed

_READ_BYTES = 1 << 20
_MAX_KEY = 1 << 16
_MAX_NUMBER = 32  # characters of a number, with the space before it
_SHOWN = 60


def open_word2vec(path: Path, _: ReadOptions) -> VectorFile:
    """Open a file of word2vec's text format, or fastText's .vec."""
    n, dim = _header(path)
    return VectorFile(
        str(path), "word2vec", 1, dim, "text", lambda: _blocks(path, dim, n), hashed=(path,), n=n
    )


def open_glove(path: Path, _: ReadOptions) -> VectorFile:
    """Open a file of GloVe's format: lines of word2vec's, without a header."""
    dim = len(_first_line(path).split(b" ")) - 1
    if not 0 < dim <= MAX_DIM:
        raise SourceError(
            f"{path}:1: the line has no numbers after its key, or too many. Give lines of a key and"
            " its numbers."
        )
    return VectorFile(
        str(path), "glove", 1, dim, "text", lambda: _blocks(path, dim, None), hashed=(path,)
    )


def has_header(path: Path) -> bool:
    """Return whether a file begins with two whole numbers."""
    parts = _first_line(path).split()
    return len(parts) == 2 and all(part.isdigit() and len(part) < 19 for part in parts)


def _header(path: Path) -> tuple[int, int]:
    """Return the numbers of vectors and of dimensions in the header of a file."""
    first = _first_line(path)
    n, dim = map(int, first.split()) if has_header(path) else (0, 0)
    if n < 1 or not 0 < dim <= MAX_DIM:
        raise SourceError(
            f"{path}:1: {first[:_SHOWN].decode(errors='replace')!r} is not the header of word2vec's"
            " formats: two whole numbers above 0, vectors and dimension. A file of text without one"
            " is GloVe's: format='glove'"
        )
    return n, dim


def _first_line(path: Path) -> bytes:
    """Return the first line of a file, without its end and a byte order mark."""
    check_regular(path)
    with open_decompressed(path, str(path)) as stream:
        line = stream.readline(_MAX_NUMBER * MAX_DIM)
    return line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n ")


def _blocks(path: Path, dim: int, n: int | None) -> Iterator[Block]:
    """Yield the rows of a file; ``n`` is the number of vectors by its header, None without one.

    Numbers are read as float64, and rounded to float32 later, as gensim and NumPy do.
    """
    import pyarrow as pa
    from pyarrow import csv

    n_header = 0 if n is None else 1
    with open_decompressed(path, str(path)) as stream:
        lines = [stream.readline(_MAX_NUMBER * MAX_DIM) for _ in range(n_header + 1)]
    # The programs word2vec and fastText write a space after the last number.
    ends = ["end"] if lines[-1].rstrip(b"\r\n").endswith(b" ") else []
    numbers = [str(number) for number in range(dim)]
    types = {"key": pa.string(), **dict.fromkeys(numbers, pa.float64()), "end": pa.string()}
    read = csv.ReadOptions(
        column_names=["key", *numbers, *ends],
        skip_rows=n_header,
        block_size=max(_READ_BYTES, _MAX_KEY + _MAX_NUMBER * dim),
        use_threads=False,
    )
    parse = csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=False)
    convert = csv.ConvertOptions(column_types=types, null_values=[])
    n_read = 0
    try:
        with open_decompressed(path, str(path)) as stream:
            for batch in csv.open_csv(stream, read, parse, convert):
                # to_numpy would load pandas: 50 MB.
                values = [np.from_dlpack(batch.column(name)) for name in numbers]
                vectors = np.stack(values, axis=1)[None]
                yield Block(batch["key"].to_pylist(), vectors, n_header + n_read + 1)
                n_read += batch.num_rows
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"{path}: {error}. Each line is a key in UTF-8, without spaces, and {dim} numbers:"
            " correct it, or give the vectors in another format, such as Parquet."
        ) from error
    if n not in (None, n_read):
        raise SourceError(
            f"{path}: its header says {n:,} vectors, and it has {n_read:,}. It was cut, or its"
            " header is wrong: copy it again, or correct the first line."
        )


def open_word2vec_binary(path: Path, _: ReadOptions) -> VectorFile:
    """Open a file of word2vec's binary format."""
    n, dim = _header(path)
    return VectorFile(
        str(path),
        "word2vec-binary",
        1,
        dim,
        "<f4",
        lambda: _binary_blocks(path, n, dim),
        hashed=(path,),
        n=n,
    )


def _binary_blocks(path: Path, n: int, dim: int) -> Iterator[Block]:
    """Yield the n rows of a file."""
    with open_decompressed(path, str(path)) as stream:
        stream.readline()
        for rows in slices(n, rows_per_block(1, dim)):
            keys, vectors = [], []
            for number in range(rows.start + 1, rows.stop + 1):
                keys.append(_key(stream, path))
                vectors.append(stream.read(4 * dim))
                if len(vectors[-1]) < 4 * dim:
                    raise SourceError(
                        f"{path}: its header says {n:,} vectors, and it ends within number"
                        f" {number:,}. It was cut, or its keys have spaces: copy it again, or give"
                        " the vectors in another format."
                    )
            array = np.frombuffer(b"".join(vectors), "<f4").reshape(1, len(keys), dim)
            yield Block(keys, array, rows.start + 1)
        if stream.read(2).strip(b"\n"):
            raise SourceError(
                f"{path}: its header says {n:,} vectors, and there is more after them. Its header"
                " is wrong, or its keys have spaces: give the vectors in another format."
            )


def _key(stream: IO[bytes], path: Path) -> str:
    """Read a key, and the space after it."""
    key = bytearray()
    while (byte := stream.read(1)) not in (b" ", b"") and len(key) < _MAX_KEY:
        key += byte
    try:
        return key.lstrip(b"\n").decode()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: the key {bytes(key[:_SHOWN])!r} is not valid UTF-8. Write the file again with"
            " keys in UTF-8."
        ) from error
