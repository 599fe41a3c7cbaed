"""Add and read a user's own datasets: files in the folder of datasets, each described by a JSON
document.

Analogies have the format of Google's questions-words.txt, or that of BATS: a section begins with a
line ``: name``; under it, a line has either the four words of a question, a b c d (a is to b as c
is to d: Google), or a pair, a word and its answers separated by slashes (BATS): each ordered pair
of pairs of a section then is a question. A BATS folder is read as the sections of its files, by the
names of these.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any

from embstore.base import documents
from embstore.base.errors import SourceError, UnknownNameError, UsageError, check_known
from embstore.base.space import Unit, parse_member
from embstore.sources import files, source
from embstore.sources.rows import (
    Row,
    Targets,
    label_value,
    number_value,
    remove_brackets,
    text_value,
)
from embstore.sources.table_files import DELIMITED, parse_delimiter
from embstore.sources.tables import COLUMNS_OPTION, TABLES, read_records

KINDS = ("pairs", "lexicon", source.ANALOGIES)
_FOLDER = "own"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_N_COLUMNS = {
    "pairs": f"three columns: the two texts and the score. Name them: {COLUMNS_OPTION}='a,b,score'",
    "occurrence pairs": (
        "seven columns, text, start and end of each target and the score; or three, two texts with"
        f" their targets in brackets and the score. Name them: {COLUMNS_OPTION}"
        " text1,start1,end1,text2,start2,end2,score"
    ),
    "lexicon": f"two columns: the text and its value. Name them: {COLUMNS_OPTION}='text,value'",
}
_WIDTHS = {"pairs": (3,), "occurrence pairs": (3, 7), "lexicon": (2,)}
_PAIRS = {
    Unit.WORD: source.WORD_PAIRS,
    Unit.SENTENCE: source.SENTENCE_PAIRS,
    Unit.OCCURRENCE: source.OCCURRENCE_PAIRS,
}

SEPARATOR = "\t"
"""Separator of the right answers of a question in the column ``answers``."""

SUFFIX = ".txt"


@dataclass(frozen=True, slots=True)
class OwnTable:
    """The layout of a user's table."""

    # Columns of the texts, one or two, each with those of its span if it has one; then the column
    # of the score or value.
    columns: tuple[str, ...]
    suffix: str
    name: str
    # Unit of its texts. Pairs of occurrences without columns of spans have their targets in
    # brackets.
    unit: Unit = Unit.WORD
    layout: Mapping[str, Any] = field(default_factory=dict)  # options of :func:`read_records`

    @property
    def value(self) -> str:
        """Name of the number's column in the store; the table's own name could be that of another
        column there.
        """
        return "value" if len(self.columns) == 2 else "score"

    def read(self, path: Path) -> Iterator[Row]:
        """Yield the rows of the table."""
        *texts, number = self.columns
        width = 3 if len(texts) == 6 else 1
        read_number = label_value if self.unit is Unit.OCCURRENCE else number_value
        for place, values in read_records(
            path, self.name, self.suffix, self.columns, **self.layout
        ):
            sides = [
                self._side(range(at, at + width), values, place)
                for at in range(0, len(texts), width)
            ]
            row_values = {self.value: read_number(values[-1], f"{place} ({number})")}
            spans = tuple(span for side in sides for span in side.spans)
            yield Row(
                sides[0].text,
                place,
                row_values,
                sides[1].text if len(sides) == 2 else None,
                spans=spans,
            )

    def _side(self, at: range, values: Sequence[object], place: str) -> Row:
        """Return the text in some columns, with its target if it is of an occurrence."""
        text, *span = (self.columns[column] for column in at)
        row = Row(text_value(values[at[0]], f"{place} ({text})"), f"{place} ({text})")
        if self.unit is not Unit.OCCURRENCE:
            return row
        if not span:
            return remove_brackets(row)
        return replace(
            row,
            spans=(
                Targets(span=tuple(span)).find(row.text, values[at[1] : at[-1] + 1], row.origin),
            ),
        )


def own_datasets() -> dict[str, source.DatasetSpec]:
    """Return name → dataset of the user's own datasets."""
    return {
        path.stem: _read_spec(path)
        for path in sorted((source.data_folder() / _FOLDER).glob("*.json"))
    }


def own_dataset(name: str) -> source.DatasetSpec | None:
    """Return one of the user's own datasets; None if there is none of that name."""
    path = source.data_folder() / _FOLDER / f"{name}.json"
    return _read_spec(path) if _NAME.fullmatch(name) and files.is_file(path) else None


def add_own(
    name: str,
    file: Path,
    kind: str,
    columns: Sequence[str],
    unit: str,
    other_names: Sequence[str],
    layout: Mapping[str, Any],
) -> source.DatasetSpec:
    """Check a user's table, file or folder of analogies, and copy it to the folder of datasets;
    replace a namesake.

    ``layout`` are those options of CSV and TSV files that are given: header (False), delimiter and
    comment.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a dataset: it takes up to 64 letters, digits, - and _,"
            " the first a letter or digit."
        )
    if name.lower() in other_names or re.fullmatch(r"words_\d+", name.lower()):
        raise UsageError(
            f"{name!r} is the name of another dataset. Choose another for your own table."
        )
    check_known("kind of dataset", kind, KINDS)
    parsed_unit = parse_member(Unit, unit)
    if kind == source.ANALOGIES:
        if columns or layout:
            raise UsageError(
                f"{COLUMNS_OPTION}, header=False, `delimiter` and `comment` are for tables, and"
                " analogies are lines of words. Leave them out."
            )
        if parsed_unit is not Unit.WORD:
            raise UsageError("analogies are of words: unit='word'.")
        content, n_rows = load_analogies(file)
        document = {
            "kind": source.ANALOGIES,
            "unit": parsed_unit.value,
            "columns": [],
            "rows": n_rows,
        }
        return _store(name, file, SUFFIX, content, document)
    of_occurrences = parsed_unit is Unit.OCCURRENCE
    if of_occurrences and kind != "pairs":
        raise UsageError(f"a {kind} is of words or of sentences: unit='word' or unit='sentence'.")
    shape = source.OCCURRENCE_PAIRS if of_occurrences else kind
    if "header" in layout and not columns and not of_occurrences:
        columns = [str(number + 1) for number in range(_WIDTHS[shape][0])]
    if len(columns) not in _WIDTHS[shape]:
        raise UsageError(f"a dataset of the kind {shape!r} has {_N_COLUMNS[shape]}")
    suffix = files.file_type(file)
    if suffix not in TABLES:
        raise UnknownNameError(
            "file type", file.suffix or file.name, TABLES, "Write the table as one of these."
        )
    if layout and suffix not in DELIMITED:
        option = "header=False" if "header" in layout else f"`{next(iter(layout))}`"
        raise UsageError(
            f"{option} does not fit {file}: it is for {' and '.join(DELIMITED)}. Leave it out."
        )
    if "delimiter" in layout:
        layout = {**layout, "delimiter": parse_delimiter(layout["delimiter"])}
    if not re.fullmatch(r"[^\w\s\"]{1,8}", comment := layout.get("comment", "#")):
        raise UsageError(f"comments cannot begin with {comment!r}. Give signs such as '#' or '//'.")
    table = OwnTable(tuple(columns), suffix, str(file), parsed_unit, layout)
    content = _read(file)
    values = [float(row.values[table.value]) for row in table.read(file)]
    if not values:
        raise SourceError(f"{file} has no rows. Give a table with at least one.")
    document = {"columns": list(columns), "rows": len(values), "scores": [min(values), max(values)]}
    document |= layout
    return _store(name, file, suffix, content, {"kind": kind, "unit": parsed_unit.value} | document)


def _store(
    name: str, file: Path, suffix: str, content: bytes, document: Mapping[str, Any]
) -> source.DatasetSpec:
    """Copy the content of a user's file to the folder of datasets, and write its document."""
    own = {
        "name": name,
        "file": f"{name}{suffix}",
        "original": file.name or str(file),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    folder = source.data_folder() / _FOLDER
    source.write_file(folder / f"{name}{suffix}", content)
    source.write_file(
        folder / f"{name}.json",
        (json.dumps({**own, **document}, indent=2, ensure_ascii=False) + "\n").encode(),
    )
    return _read_spec(folder / f"{name}.json")


def _read(file: Path) -> bytes:
    """Return the bytes of a table, decompressed."""
    with files.open_decompressed(file, str(file)) as stream:
        return stream.read()


def _read_spec(path: Path) -> source.DatasetSpec:
    """Read the document of a user's dataset; raise SourceError if it is damaged."""
    try:
        document = documents.parse(files.read_binary(path), "own-dataset")
        documents.check(document, "own-dataset")
        return _spec_of(path.stem, document)
    except ValueError as error:
        raise SourceError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Delete it, and add the"
            f" dataset again: embstore datasets add {path.stem} FILE …"
        ) from error


def _spec_of(name: str, document: dict[str, Any]) -> source.DatasetSpec:
    """Return the description of a user's dataset, from its document; raise ValueError if that is
    inconsistent.
    """
    suffix, is_table = Path(document["file"]).suffix, document["kind"] != source.ANALOGIES
    known = TABLES if is_table else (SUFFIX,)
    if document["name"] != name or document["file"] != f"{name}{suffix}" or suffix not in known:
        raise ValueError("it is the document of another dataset")
    unit = Unit(document["unit"])
    file, sha256, original = (
        f"{_FOLDER}/{document['file']}",
        document["sha256"],
        document["original"],
    )
    if not is_table:
        return source.DatasetSpec(
            name,
            source.ANALOGIES,
            unit,
            document["rows"],
            {"section": str, "answers": str},
            source.DataFile(
                file, sha256, lambda path: _questions_in(files.file_lines(path, original), original)
            ),
            help=f"Your own analogies, {original}.",
        )
    layout: dict[str, Any] = {
        name: document[name] for name in ("header", "delimiter", "comment") if name in document
    }
    table = OwnTable(tuple(document["columns"]), suffix, original, unit, layout)
    low, high = document["scores"]
    kind = _PAIRS[unit] if document["kind"] == "pairs" else source.LEXICON
    return source.DatasetSpec(
        name,
        kind,
        unit,
        document["rows"],
        {table.value: float},
        source.DataFile(file, sha256, table.read),
        help=f"Your own table, {original}.",
        scores=(low, high),
    )


_Pair = tuple[str, tuple[str, ...], str]  # a word, its right answers, and its place in the file


def _questions_in(lines: Iterable[str], name: str) -> Iterator[Row]:
    """Yield the questions of a text: four texts, and further right answers, with ``section`` and
    ``answers``.
    """
    section, pairs = Path(name).stem, list[_Pair]()
    for number, line in enumerate(lines, 1):
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
                word, answers = words[0].strip(), [answer.strip() for answer in words[1].split("/")]
                distinct = tuple(dict.fromkeys(filter(None, answers)))
                if not word or not distinct:
                    raise SourceError(
                        f"{place}: a pair is a word, a tab and its answers (b1/b2), and one of them"
                        " is empty."
                    )
                pairs.append((word, distinct, place))
            else:
                raise SourceError(
                    f"{place}: {len(words)} {'word' if len(words) == 1 else 'words'}. A line is a"
                    " section (: name), the four words of a question, or a word, a tab and its"
                    " answers (b1/b2)."
                )
    yield from _questions(section, pairs)


def _questions(section: str, pairs: list[_Pair]) -> Iterator[Row]:
    """Yield a question for each ordered pair of pairs; the first answer of the first pair is in the
    question.
    """
    for (first, (answer, *_), _), (second, answers, origin) in permutations(pairs, 2):
        yield _question(section, (first, answer, second), answers, origin)


def _question(
    section: str, words: tuple[str, str, str], answers: tuple[str, ...], origin: str
) -> Row:
    values = {"section": section, "answers": SEPARATOR.join(answers)}
    return Row(words[0], origin, values, words[1], more=(words[2], *answers))


def load_analogies(file: Path) -> tuple[bytes, int]:
    """Return the text of a file of analogies, or of a folder of BATS as one text, and the number of
    its questions.
    """
    if file.is_dir():
        parts = sorted(file.rglob(f"*{SUFFIX}"))
    elif files.file_type(file) == SUFFIX:
        parts = [file]
    else:
        raise SourceError(
            f"{file}: analogies are a {SUFFIX} file (also {SUFFIX}{files.GZIP_SUFFIX}), or a folder"
            " of such."
        )
    contents = [_read(part).removeprefix(b"\xef\xbb\xbf") for part in parts]
    named = [(str(part), io.BytesIO(text)) for part, text in zip(parts, contents, strict=True)]
    n_rows = sum(
        1 for name, stream in named for _ in _questions_in(files.decode_lines(stream, name), name)
    )
    if not n_rows:
        raise SourceError(
            f"{file} has no question. Give four words a line, or two pairs or more in a section."
        )
    if not file.is_dir():
        return contents[0], n_rows
    return (
        b"".join(
            b": %s\n%s\n" % (part.stem.encode(), text)
            for part, text in zip(parts, contents, strict=True)
        ),
        n_rows,
    )
