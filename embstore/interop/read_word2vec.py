"""Read word2vec's text format, GloVe's, and fastText's .vec: a key and its numbers on each line;
and word2vec's binary.

word2vec and fastText begin with a line of two numbers, the vectors and their dimension; GloVe does
not. In the binary format a key, a space and float32 numbers follow.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import SourceError
from embstore.interop import vector_file
from embstore.sources.files import open_decompressed

_READ_BYTES = 1 << 20
_MAX_KEY = 1 << 16
_MAX_LINE_BYTES = 32 << 20
_SHOWN = 60


def open_word2vec(path: Path, _: vector_file.ReadOptions) -> vector_file.VectorFile:
    """Open a file of word2vec's text format, or fastText's .vec."""
    first = _first_line(path)
    if (header := _parse_header(first)) is None:
        raise SourceError(
            f"{path}:1: {_shown(first)} is not the header of word2vec's text format, which is two"
            " whole numbers: vectors and dimension. A file without one is GloVe's: format='glove'"
        )
    n, dim = header
    return vector_file.VectorFile(
        str(path), "word2vec", 1, dim, "text", lambda: _blocks(path, dim, n), hashed=(path,), n=n
    )


def open_glove(path: Path, _: vector_file.ReadOptions) -> vector_file.VectorFile:
    """Open a file of GloVe's format: lines of word2vec's, without a header."""
    first = _first_line(path)
    numbers = first.split(b" ")[1:]
    dim = len(numbers)
    if dim < 1:
        raise SourceError(
            f"{path}:1: {_shown(first)} has no numbers after its key. Give lines of a key and its"
            " numbers."
        )
    if (wrong := next((number for number in numbers if not _is_number(number)), None)) is not None:
        raise SourceError(
            f"{path}:1: {_shown(wrong)} is not a number: the line is neither a header (two whole"
            " numbers, vectors and dimension) nor a key and its numbers. Correct or remove it."
        )
    return vector_file.VectorFile(
        str(path), "glove", 1, dim, "text", lambda: _blocks(path, dim, None), hashed=(path,)
    )


def has_header(path: Path) -> bool:
    """Return whether a file begins with two whole numbers."""
    return _parse_header(_first_line(path)) is not None


def _parse_header(line: bytes) -> tuple[int, int] | None:
    """Return the numbers of vectors and of dimensions in a header; None if the line is not one."""
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() and len(part) < 19 for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _first_line(path: Path) -> bytes:
    """Return the first line of a file, without its end and a byte order mark."""
    vector_file.check_regular(path)
    with open_decompressed(path, str(path)) as stream:
        line = stream.readline(_MAX_LINE_BYTES + 1)
    if len(line) > _MAX_LINE_BYTES:
        raise SourceError(
            f"{path}:1: the line has more than {_MAX_LINE_BYTES:,} bytes, and is none of vectors."
        )
    return line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n ")


def _blocks(path: Path, dim: int, n: int | None) -> Iterator[vector_file.Block]:
    """Yield the rows of a file; ``n`` is the number of vectors by its header, None without one."""
    if not 0 < dim <= vector_file.MAX_DIM or n == 0:
        raise SourceError(
            f"{path}:1: the header has no vectors, or none of a possible dimension: {n} of {dim}."
        )
    number = 1 if n is None else 2
    first = number
    with open_decompressed(path, str(path)) as stream:
        if n is not None:
            stream.readline()
        for lines in _line_blocks(stream, path):
            if number == 1:
                lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
            yield _parsed(lines, dim, path, number)
            number += len(lines)
    if n is not None and number - first != n:
        raise SourceError(
            f"{path}: its header says {n:,} vectors, and it has {number - first:,}. It was cut, or"
            " its header is wrong: copy it again, or correct the first line."
        )


def _line_blocks(stream: IO[bytes], path: Path) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, some megabytes at a time."""
    rest = b""
    while data := stream.read(_READ_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            raise SourceError(
                f"{path}: a line has more than {_MAX_LINE_BYTES:,} bytes, and is none of vectors."
            )
        if whole:
            yield whole
    if rest:
        yield [rest]


def _parsed(lines: list[bytes], dim: int, path: Path, first: int) -> vector_file.Block:
    """Parse lines of a key and ``dim`` numbers."""
    keys, numbers = [], []
    for offset, line in enumerate(lines):
        key, _, values = line.rstrip(b"\r \t").partition(b" ")
        if values.count(b" ") != dim - 1 or not values or not key:
            raise _wrong_line(line, dim, f"{path}:{first + offset}")
        keys.append(key)
        numbers.append(values)
    vectors = _parse_numbers(b" ".join(numbers), len(lines) * dim)
    if vectors is None:
        raise _first_wrong(numbers, dim, path, first)
    return vector_file.Block(_texts(keys, path, first), vectors.reshape(1, len(lines), dim), first)


def _parse_numbers(values: bytes, n: int) -> NDArray[np.float64] | None:
    """Parse numbers separated by spaces; None unless there are n.

    They are read as float64, and rounded to float32 later, as gensim and NumPy do.
    """
    import pyarrow as pa
    from pyarrow import csv

    read = csv.ReadOptions(column_names=["value"], block_size=1 << 20, use_threads=False)
    parse = csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False)
    convert = csv.ConvertOptions(column_types={"value": pa.float64()}, null_values=[])
    try:
        found = csv.read_csv(io.BytesIO(values.replace(b" ", b"\n")), read, parse, convert).column(
            0
        )
    except pa.ArrowInvalid:
        return None
    if len(found) != n or found.null_count:
        return None
    # To_numpy would load pandas: 50 MB.
    return np.concatenate([np.from_dlpack(chunk) for chunk in found.chunks])


def _wrong_line(line: bytes, dim: int, place: str) -> SourceError:
    """Return the error for a line without a key or with another number of values."""
    if not line.strip():
        return SourceError(
            f"{place}: the line is empty, and has neither a key nor a vector. Remove it."
        )
    if line.startswith(b" "):
        return SourceError(
            f"{place}: the key is empty: the line begins with a space. Give it a key, or remove it."
        )
    parts = line.split()
    n = len(parts) - 1
    if n > dim and not _is_number(parts[n - dim]):
        key = b" ".join(parts[: n - dim + 1]).decode(errors="replace")
        return SourceError(
            f"{place}: the key {key[:_SHOWN]!r} has a space, which separates the numbers in this"
            " format. Replace it, as by _, or give the vectors in another format, such as Parquet."
        )
    return SourceError(
        f"{place}: {n} numbers after the key, where there must be {dim}: {_shown(line)}. Correct"
        " the line."
    )


def _first_wrong(numbers: list[bytes], dim: int, path: Path, first: int) -> SourceError:
    """Return the error for the first line with a value that is not a number."""
    for offset, values in enumerate(numbers):
        if _parse_numbers(values, dim) is None:
            wrong = next((part for part in values.split(b" ") if not _is_number(part)), values)
            return SourceError(
                f"{path}:{first + offset}: {_shown(wrong)} is not a number. Correct the line."
            )
    raise AssertionError("every line can be parsed alone, and not all together")


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return b"_" not in part


def _texts(keys: list[bytes], path: Path, first: int) -> list[str]:
    """Decode keys; raise SourceError for the first that is not valid UTF-8."""
    texts = []
    for number, key in enumerate(keys, first):
        try:
            texts.append(key.decode())
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{path}:{number}: the key {_shown(key)} is not valid UTF-8 ({error.reason})."
                " Convert the file to UTF-8 first, for instance with iconv."
            ) from None
    return texts


def _shown(line: bytes) -> str:
    """Return the beginning of a line for messages."""
    text = line[:_SHOWN].decode(errors="replace")
    return repr(text) + ("…" if len(line) > _SHOWN else "")


def open_word2vec_binary(path: Path, _: vector_file.ReadOptions) -> vector_file.VectorFile:
    """Open a file of word2vec's binary format."""
    header = _parse_header(_first_line(path))
    if header is None or not header[0] or not 0 < header[1] <= vector_file.MAX_DIM:
        raise SourceError(
            f"{path} does not begin with the header of word2vec's binary format, which is two whole"
            " numbers: vectors and dimension. Check the format, or name another."
        )
    n, dim = header
    return vector_file.VectorFile(
        str(path),
        "word2vec-binary",
        1,
        dim,
        "<f4",
        lambda: _binary_blocks(path, n, dim),
        hashed=(path,),
        n=n,
    )


def _binary_blocks(path: Path, n: int, dim: int) -> Iterator[vector_file.Block]:
    """Yield the n rows of a file."""
    n_bytes, done = 4 * dim, 0
    with open_decompressed(path, str(path)) as stream:
        stream.readline()
        data, position = b"", 0
        while done < n:
            more = stream.read(max(vector_file.BLOCK_BYTES, n_bytes))
            data, position = data[position:] + more, 0
            keys: list[bytes] = []
            vectors: list[bytes] = []
            while (
                (space := data.find(b" ", position)) >= 0
                and len(data) > space + n_bytes
                and done + len(keys) < n
            ):
                keys.append(data[position:space].lstrip(b"\n"))
                vectors.append(data[space + 1 : space + 1 + n_bytes])
                position = space + 1 + n_bytes
            if keys:
                found = np.frombuffer(b"".join(vectors), "<f4").reshape(1, len(keys), dim)
                yield vector_file.Block(_texts(keys, path, done + 1), found, done + 1)
                done += len(keys)
            elif not more or (space < 0 and len(data) > _MAX_KEY + len(more)):
                raise SourceError(
                    f"{path}: its header says {n:,} vectors, and it ends within number"
                    f" {done + 1:,}. It was cut, or its keys have spaces: copy it again, or give"
                    " the vectors in another format."
                )
        if (data[position:] + stream.read(2)).strip(b"\n"):
            raise SourceError(
                f"{path}: its header says {n:,} vectors, and there is more after them. Its header"
                " is wrong, or its keys have spaces: give the vectors in another format."
            )
