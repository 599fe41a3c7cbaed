"""Read and add sets of analogy questions: the format of Google's questions-words.txt, and that of BATS.

A section begins with a line ``: name``. Under it, a line has either the four words of a question, a b c d (a is to b as
c is to d: Google), or a pair, a word and its answers separated by slashes (BATS): each ordered pair of pairs of a
section then is a question. A BATS folder is read as the sections of its files, by the names of these.
"""

import io
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import IO, NamedTuple

from embstore.base.errors import SourceError
from embstore.sources.files import GZIP_SUFFIX, file_type, open_binary, open_decompressed
from embstore.sources.lines import decode_lines
from embstore.sources.rows import Row

SEPARATOR = "\t"
"""Separator of the right answers of a question in the column ``answers``."""
SUFFIX = ".txt"


class _Pair(NamedTuple):
    """A word with its right answers, and its place in the file."""

    word: str
    answers: tuple[str, ...]
    origin: str


def read_analogies(name: str, path: Path) -> Iterator[Row]:
    """Yield the questions of a file: four texts, and further right answers, with ``section`` and ``answers``.

    Args:
        name: Name of the file in messages; without its suffix, the section of questions before the first header.
        path: Path of the file.

    Raises:
        SourceError: The file cannot be read, or a line is neither a header, a question nor a pair.
    """
    with open_binary(path, name) as stream:
        yield from _parse(stream, name)


def _parse(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Yield the questions of a text; see :func:`read_analogies`."""
    section, pairs = Path(name).stem, list[_Pair]()
    for number, line in enumerate(decode_lines(stream, name), 1):
        content, place = line.strip(), f"{name}:{number}"
        if content.startswith(":"):
            yield from _questions(section, pairs)
            section, pairs = content[1:].strip(), []
            if not section:
                raise SourceError(f"{place}: the section has no name. Write one after the colon.")
        elif content:
            words = content.split("\t") if content.count("\t") == 1 else content.split()
            if len(words) == 4:
                yield _question(section, (words[0], words[1], words[2]), (words[3],), place)
            elif len(words) == 2:
                pairs.append(_pair(words[0].strip(), words[1].strip(), place))
            else:
                raise SourceError(
                    f"{place}: {len(words)} {'word' if len(words) == 1 else 'words'}. A line is a section (: name), "
                    "the four words of a question, or a word, a tab and its answers (b1/b2)."
                )
    yield from _questions(section, pairs)


def _pair(word: str, answers: str, place: str) -> _Pair:
    """Return the pair of a line; raise SourceError if it has no answer."""
    distinct = tuple(dict.fromkeys(answer for part in answers.split("/") if (answer := part.strip())))
    if not word or not distinct:
        raise SourceError(f"{place}: a pair is a word, a tab and its answers (b1/b2), and one of them is empty.")
    return _Pair(word, distinct, place)


def _questions(section: str, pairs: list[_Pair]) -> Iterator[Row]:
    """Yield a question for each ordered pair of pairs; the first answer of the first pair is in the question."""
    for first, second in permutations(pairs, 2):
        yield _question(section, (first.word, first.answers[0], second.word), second.answers, second.origin)


def _question(section: str, words: tuple[str, str, str], answers: tuple[str, ...], origin: str) -> Row:
    values = {"section": section, "answers": SEPARATOR.join(answers)}
    return Row(words[0], origin, values, words[1], more=(words[2], *answers))


def load_analogies(file: Path) -> tuple[bytes, int]:
    """Return the text of a file of analogies, or of a folder of BATS as one text, and the number of its questions.

    Raises:
        SourceError: It cannot be read, is of another type, has an invalid line, or has no question.
    """
    if file.is_dir():
        parts = sorted(file.rglob(f"*{SUFFIX}"))
    elif file_type(file) == SUFFIX:
        parts = [file]
    else:
        raise SourceError(f"{file}: analogies are a {SUFFIX} file (also {SUFFIX}{GZIP_SUFFIX}), or a folder of such.")
    contents = [_decompressed(part).removeprefix(b"\xef\xbb\xbf") for part in parts]
    n_rows = sum(1 for part, text in zip(parts, contents, strict=True) for _ in _parse(io.BytesIO(text), str(part)))
    if not n_rows:
        raise SourceError(f"{file} has no question. Give four words a line, or two pairs or more in a section.")
    if not file.is_dir():
        return contents[0], n_rows
    return b"".join(
        b": %s\n%s\n" % (part.stem.encode(), text) for part, text in zip(parts, contents, strict=True)
    ), n_rows


def _decompressed(file: Path) -> bytes:
    import gzip
    import zlib

    with open_decompressed(file, str(file)) as stream:
        try:
            return stream.read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(f"{file} is not packed by gzip, or is damaged: {error}. Copy it again.") from error
