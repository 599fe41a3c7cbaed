"""List, fetch, add and open named datasets; those of papers with their URLs, SHA-256, layouts and
references.

The URLs name a commit, so that the files cannot change. Each line is a row, split at a separator;
quotes are literal.
"""

import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.base.table import Pivot, Table, table
from embstore.base.text import source_name
from embstore.sources import source
from embstore.sources.files import (
    decode_lines,
    file_sha256,
    is_file,
    open_binary,
    read_binary,
    strip_terminator,
)
from embstore.sources.rows import Row, Value, number_value, text_value

COLUMNS = (
    "name", "kind", "unit", "rows", "at_hand", "damaged", "columns", "score_min", "score_max",
    "licence", "help",
    "citation", "address", "sha256", "file",
)  # fmt: skip


def _read_words(size: int) -> Iterator[Row]:
    """Yield the most frequent English words of wordfreq, letters only, with their ``rank`` from
    1.
    """
    import wordfreq  # loads 25 MB of word lists, for this dataset only

    words = (word for word in wordfreq.iter_wordlist("en") if word.isalpha())
    for rank, word in zip(range(1, size + 1), words, strict=False):
        yield Row(word, f"words rank {rank}", {"rank": rank})


WORDS = source.DatasetSpec(
    name="words",
    kind=source.WORD_LIST,
    unit=Unit.WORD,
    rows=10_000,
    columns={"rank": int},
    content=_read_words,
    help="The most frequent English words, letters only; 10,000, or as many as words:N says.",
    scores=(1, 10_000),
    licence="CC BY-SA 4.0",
    citation=(
        "Robyn Speer (2022). rspeer/wordfreq: v3.0. Zenodo. https://doi.org/10.5281/zenodo.7199437"
    ),
    references=("speer2022",),
)

_WOLFE = (
    "https://raw.githubusercontent.com/wolferobert3/clip_contrastive_acl_2022/"
    "36108ea6fa4be58bea3bc68fd1d28f71140ab3a6/data/"
)
_VECTO = (
    "https://raw.githubusercontent.com/vecto-ai/word-benchmarks/"
    "9b61d0e067e2e68af22160d09450f82d9544cd70/word-similarity/monolingual/en/"
)
_LICENCES = {_WOLFE: "MIT (of the repository)", _VECTO: "none stated in the repository"}
_UNITS = {
    source.WORD_PAIRS: Unit.WORD,
    source.LEXICON: Unit.WORD,
    source.SENTENCE_PAIRS: Unit.SENTENCE,
}
_SCORE: dict[str, source.ValueType] = {"score": float}
_POS: dict[str, source.ValueType] = {**_SCORE, "pos": str, "pos_2": str}
_SIMVERB: dict[str, source.ValueType] = {**_SCORE, "pos": str, "relation": str}
_STSB: dict[str, source.ValueType] = {**_SCORE, "genre": str, "file": str, "year": str, "id": str}
# Their code ranks the scores as strings.
_STSB_WOLFE: dict[str, source.ValueType] = {**_STSB, "score_text": str}
_STSB_FILE = "sts-test.csv", "affe45928a66ee5a708531233c95b7dacbbdc57f974f002a3d32ea0180cf816a"
_STSB_FIELDS = ("genre", "file", "year", "id", "score", "text", "text_2")
_STSB_CITATION = (
    "Daniel Cer, Mona Diab, Eneko Agirre, Iñigo Lopez-Gazpio, Lucia Specia (2017). SemEval-2017"
    " Task 1: Semantic Textual Similarity. SemEval, 1–14. https://doi.org/10.18653/v1/S17-2001"
)
_BELLEZZA: dict[str, source.ValueType] = {
    "valence": float, "male_pleasantness": float, "female_pleasantness": float,
    "male_frequency": float,
    "female_frequency": float, "combined_frequency": float,
}  # fmt: skip
_Records = Iterator[tuple[int, list[str]]]
_POS_MARKS = ("-n", "-v", "-j")
# The attribute words of ValNorm, as in Wolfe & Caliskan (2022).
PLEASANT = (
    "caress", "freedom", "health", "love", "peace", "cheer", "friend", "heaven", "loyal",
    "pleasure", "diamond",
    "gentle", "honest", "lucky", "rainbow", "diploma", "gift", "honor", "miracle", "sunrise",
    "family", "happy",
    "laughter", "paradise", "vacation",
)  # fmt: skip
UNPLEASANT = (
    "abuse", "crash", "filth", "murder", "sickness", "accident", "death", "grief", "poison",
    "stink", "assault",
    "disaster", "hatred", "pollute", "tragedy", "divorce", "jail", "poverty", "ugly", "cancer",
    "kill",
    "rotten", "vomit", "agony", "prison",
)  # fmt: skip


def split_lines(lines: Iterator[str], separator: str) -> _Records:
    """Yield the number and fields of each line. Quotes are not special: in STS-B they are part of
    the sentences.
    """
    for number, line in enumerate(lines, 1):
        yield number, strip_terminator(line).split(separator)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a dataset's file."""

    separator: str
    # Names of the first fields: ``text``, ``text_2``, columns of the dataset, or empty for unused
    # fields.
    fields: tuple[str, ...]
    header: bool = False  # whether the first line names the fields
    # Whether each word ends with its part of speech (``-n``), which becomes the columns ``pos`` and
    # ``pos_2``.
    pos: bool = False
    records: Callable[[Iterator[str], str], _Records] = split_lines

    def read(self, columns: dict[str, source.ValueType], path: Path) -> Iterator[Row]:
        """Yield the rows of a file."""
        with open_binary(path, path.name) as stream:
            lines = decode_lines(stream, path.name, newline="\n")
            for number, values in self.records(lines, self.separator):
                if not (self.header and number == 1):
                    yield self._row(columns, values, f"{path.name}:{number}")

    def _row(self, columns: dict[str, source.ValueType], values: list[str], place: str) -> Row:
        """Return the row of one line's fields; raise SourceError if fields are missing or
        invalid.
        """
        if len(values) < len(self.fields):
            raise SourceError(
                f"{place}: {len(values)} values, and there should be {len(self.fields)}. Get the"
                " file again."
            )
        fields: dict[str, str] = dict(zip(self.fields, values, strict=False))
        for key in ("text", "text_2") if self.pos else ():
            word, mark = fields[key][:-2], fields[key][-2:]  # word-n
            if mark not in _POS_MARKS:
                marks = ", ".join(_POS_MARKS)
                raise SourceError(
                    f"{place}: {fields[key]!r} does not end with one of {marks}. Get the file"
                    " again."
                )
            fields |= {key: word, key.replace("text", "pos"): mark[1]}
        if "score" in fields:
            fields["score_text"] = fields["score"]
        row_values: dict[str, Value] = {
            key: number_value(fields[key], f"{place} ({key})") if kind is float else fields[key]
            for key, kind in columns.items()
        }
        second = text_value(fields["text_2"], place) if "text_2" in fields else None
        return Row(text_value(fields["text"], place), place, row_values, second)


_TRIPLE = Layout(";", ("text", "text_2", "score"))
_NUMBERED = Layout(",", ("", "text", "text_2", "score"), header=True)
_SIMVERB_LAYOUT = Layout("\t", ("text", "text_2", "pos", "score", "relation"))
_BELLEZZA_LAYOUT = Layout(
    ",",
    (
        "text",
        "male_pleasantness",
        "female_pleasantness",
        "valence",
        "male_frequency",
        "female_frequency",
        "combined_frequency",
    ),
    header=True,
)


def _spec(
    name: str,
    kind: str,
    rows: int,
    base: str,
    file: tuple[str, str],
    layout: Layout,
    columns: dict[str, source.ValueType] = _SCORE,
    **attributes: Any,
) -> source.DatasetSpec:
    """Return the spec of a dataset whose ``file`` (name, SHA-256) is in the folder with the URL
    ``base``.
    """
    file_name, sha256 = file
    content = source.DataFile(file_name, sha256, partial(layout.read, columns), base + file_name)
    return source.DatasetSpec(
        name, kind, _UNITS[kind], rows, columns, content, licence=_LICENCES[base], **attributes
    )


def wolfe2022_lines(lines: Iterator[str], separator: str) -> _Records:
    """Yield the rows of STS-B as the code of Wolfe & Caliskan (2022) reads them
    (``sentence_evaluations.py``).

    The code parses the tab-separated file as comma-separated, joins the values and splits them at
    tabs. So a value that begins with a quote extends over the lines up to the next quote, and
    commas are lost.
    """
    reader = csv.reader(lines)
    first_line = 1
    for values in reader:
        yield first_line, "".join(values).split(separator)
        first_line = reader.line_num + 1


PUBLISHED = (
    _spec(
        "rg65",
        source.WORD_PAIRS,
        65,
        _WOLFE,
        ("rg65.csv", "42dc8a52d3d58252f4c6b9fa3d6f38232c05ea8137d37f7bc8f203f2c99cc95d"),
        _TRIPLE,
        references=("rubenstein1965",),
        help="Similarity of 65 pairs of nouns, from 0 to 4.",
        scores=(0.02, 3.94),
        citation=(
            "Herbert Rubenstein, John B. Goodenough (1965). Contextual correlates of synonymy."
            " Communications of the ACM 8(10), 627–633. https://doi.org/10.1145/365628.365657"
        ),
    ),
    _spec(
        "wordsim353",
        source.WORD_PAIRS,
        353,
        _WOLFE,
        ("wordsim353.csv", "2371c9fd185be669345f9fdabe32b2e8df77b2471773a72e24cbd9fd55b03296"),
        _TRIPLE,
        references=("finkelstein2002",),
        help=(
            "Relatedness of 353 pairs of words, from 0 to 10; some with capitals, two pairs twice."
        ),
        scores=(0.23, 10.0),
        citation=(
            "Lev Finkelstein, Evgeniy Gabrilovich, Yossi Matias, Ehud Rivlin, Zach Solan, Gadi"
            " Wolfman, Eytan Ruppin (2002). Placing search in context: the concept revisited. ACM"
            " TOIS 20(1), 116–131. https://doi.org/10.1145/503104.503110"
        ),
    ),
    _spec(
        "simlex999",
        source.WORD_PAIRS,
        999,
        _WOLFE,
        ("simlex999.csv", "1a87c84ca4cbb985103829b7bd7a2c0b7db08f1adaac6811ff1499aee61a3a46"),
        _TRIPLE,
        references=("hill2015",),
        help="Similarity, not relatedness, of 999 pairs of words, from 0 to 10; one pair twice.",
        scores=(0.23, 9.8),
        citation=(
            "Felix Hill, Roi Reichart, Anna Korhonen (2015). SimLex-999: Evaluating semantic models"
            " with (genuine) similarity estimation. Computational Linguistics 41(4), 665–695."
            " https://doi.org/10.1162/COLI_a_00237"
        ),
    ),
    _spec(
        "simverb3500",
        source.WORD_PAIRS,
        3500,
        _WOLFE,
        ("SimVerb-3500.txt", "b58f68454cf9354b94ecd8bfd778ff2cc784a25fc7dca02bc695319ad2b4157e"),
        _SIMVERB_LAYOUT,
        _SIMVERB,
        references=("gerz2016",),
        help=(
            "Similarity of 3,500 pairs of verbs, from 0 to 10, with their relation; one pair twice."
        ),
        scores=(0.0, 9.96),
        citation=(
            "Daniela Gerz, Ivan Vulić, Felix Hill, Roi Reichart, Anna Korhonen (2016)."
            " SimVerb-3500: A large-scale evaluation set of verb similarity. EMNLP, 2173–2182."
            " https://doi.org/10.18653/v1/D16-1235"
        ),
    ),
    _spec(
        "men",
        source.WORD_PAIRS,
        3000,
        _VECTO,
        ("men.csv", "ee7efb13c361afe12a6b1a58654833f97029e0b0540859f8db503c2f75782e44"),
        replace(_NUMBERED, pos=True),
        _POS,
        references=("bruni2014",),
        help="Relatedness of 3,000 pairs of words, from 0 to 50, with their parts of speech.",
        scores=(0.0, 50.0),
        citation=(
            "Elia Bruni, Nam Khanh Tran, Marco Baroni (2014). Multimodal distributional semantics."
            " Journal of Artificial Intelligence Research 49, 1–47."
            " https://doi.org/10.1613/jair.4135"
        ),
    ),
    _spec(
        "rw",
        source.WORD_PAIRS,
        2034,
        _VECTO,
        ("rw.csv", "b621a724cc748e4c722e97242da16f15bbb7d73bc7f9b1f6097c11051022a899"),
        _NUMBERED,
        references=("luong2013",),
        help="Similarity of 2,034 pairs of words, one of each pair rare, from 0 to 10.",
        scores=(0.0, 10.0),
        citation=(
            "Minh-Thang Luong, Richard Socher, Christopher D. Manning (2013). Better word"
            " representations with recursive neural networks for morphology. CoNLL, 104–113."
            " https://aclanthology.org/W13-3512/"
        ),
    ),
    _spec(
        "mturk771",
        source.WORD_PAIRS,
        771,
        _VECTO,
        ("mturk-771.csv", "04213b3c30625e3e9c8b88b51bbf1dc9837289f2fa3d70c119d44aa65be43b8c"),
        _NUMBERED,
        references=("halawi2012",),
        help="Relatedness of 771 pairs of words, from 1 to 5.",
        scores=(1.0, 4.96),
        citation=(
            "Guy Halawi, Gideon Dror, Evgeniy Gabrilovich, Yehuda Koren (2012). Large-scale"
            " learning of word relatedness with constraints. KDD, 1406–1414."
            " https://doi.org/10.1145/2339530.2339751"
        ),
    ),
    _spec(
        "stsb",
        source.SENTENCE_PAIRS,
        1379,
        _WOLFE,
        _STSB_FILE,
        Layout("\t", _STSB_FIELDS),
        _STSB,
        references=("cer2017",),
        help=(
            "Similarity of the 1,379 pairs of sentences of the STS Benchmark's test set, from 0"
            " to 5."
        ),
        scores=(0.0, 5.0),
        citation=_STSB_CITATION,
    ),
    _spec(
        "stsb-wolfe2022",
        source.SENTENCE_PAIRS,
        1273,
        _WOLFE,
        _STSB_FILE,
        Layout("\t", _STSB_FIELDS, records=wolfe2022_lines),
        _STSB_WOLFE,
        references=("cer2017", "wolfe2022"),
        help=(
            "The same file as the code of Wolfe & Caliskan (2022) reads it: 106 pairs are lost, 257"
            " altered."
        ),
        scores=(0.0, 5.0),
        citation=_STSB_CITATION,
    ),
    _spec(
        "bellezza",
        source.LEXICON,
        399,
        _WOLFE,
        (
            "Bellezza_Lexicon.csv",
            "730f4cf3909efbd6ba87d37fd9e1e9a1d7eb632497c8c27e24623a19ffaa84e0",
        ),
        _BELLEZZA_LAYOUT,
        _BELLEZZA,
        references=("bellezza1986",),
        help=(
            "Valence of 399 words, from 1 to 5; builds also embed the 25 + 25 attribute words of"
            " ValNorm."
        ),
        scores=(1.22, 4.83),
        citation=(
            "Francis S. Bellezza, Anthony G. Greenwald, Mahzarin R. Banaji (1986). Words high and"
            " low in pleasantness as rated by male and female college students. Behavior Research"
            " Methods, Instruments, & Computers 18(3), 299–303. https://doi.org/10.3758/BF03204403"
        ),
        extra=(*PLEASANT, *UNPLEASANT),
    ),
)


DATASETS: Mapping[str, source.DatasetSpec] = {spec.name: spec for spec in (WORDS, *PUBLISHED)}
"""Name → dataset that embstore knows."""


def find_dataset(spec: str) -> source.DatasetSpec | None:
    """Return the dataset named by ``name`` or ``name:size``; None if there is none."""
    name = source_name(spec).partition(":")[0]
    return DATASETS.get(name)


def get_datasets(specs: Iterable[str]) -> dict[str, source.DatasetSpec]:
    """Return the datasets named by ``name`` or ``name:size``, each once."""
    datasets: dict[str, source.DatasetSpec] = {}
    for spec in specs:
        dataset = find_dataset(spec)
        if dataset is None:
            hint = "Pairs of your own are stored by: embstore datasets add NAME FILE"
            raise UnknownNameError("dataset", spec, DATASETS, hint)
        datasets[spec] = dataset
    return datasets


def open_dataset(spec: str, dataset: source.DatasetSpec) -> source.Source:
    """Open a dataset."""
    name, colon, number = source_name(spec).partition(":")
    if isinstance(content := dataset.content, source.DataFile):
        if colon:
            raise UsageError(
                f"{spec!r}: the dataset {name!r} is always whole. Write {name}, without a number."
            )
        return source.Source(
            name, partial(content.read, source.check_cached(dataset, content)), dataset
        )
    size = dataset.rows
    if colon:
        # int() fails on more than 4,300 digits.
        if not (number.isascii() and number.isdecimal() and len(number) < 100 and int(number) > 0):
            raise UsageError(
                f"{spec!r}: {number!r} is not a number of texts. Write a whole number above 0, as"
                f" in {dataset.name}:{dataset.rows // 2}, or ./{spec} for a file of that name."
            )
        size = int(number)
    if colon and (n_available := sum(1 for _ in content(size))) < size:
        raise SourceError(
            f"{spec}: the dataset {name!r} has {n_available:,} texts. Ask for at most"
            f" {name}:{n_available}."
        )
    # With its default size it has the same name as without, so that the store does not hold it
    # under two names.
    stored_name = name if size == dataset.rows else f"{name}:{size}"
    return source.Source(stored_name, partial(content, size), dataset)


def fetch_dataset(name: str) -> Path | None:
    """Download the file of a dataset, unless it exists with the right SHA-256."""
    spec = _get_dataset(name)
    if not isinstance(file := spec.content, source.DataFile):
        return None
    path = source.path_of(file)
    if not (is_file(path) and file_sha256(path) == file.sha256):
        source.download(spec, file)
    return path


def _get_dataset(name: str) -> source.DatasetSpec:
    """Return the dataset of a name; raise UnknownNameError if there is none, or if a size follows
    (``words:5000``).
    """
    spec = find_dataset(name)
    if spec is None or ":" in name:
        raise UnknownNameError("dataset", name, DATASETS, "embstore datasets lists them.")
    return spec


def fetch_datasets(names: Sequence[str]) -> dict[str, Path | None]:
    """Download the files of datasets; if one fails, continue with the others before raising an
    error.
    """
    for name in names:
        _get_dataset(name)
    paths: dict[str, Path | None] = {}
    errors: list[str] = []
    for name in dict.fromkeys(names):
        try:
            paths[name] = fetch_dataset(name)
        except SourceError as error:
            errors.append(str(error))
    if len(errors) == 1 and not paths:
        raise SourceError(errors[0])
    if errors:
        fetched = (
            f" ({', '.join(paths)} {'are' if len(paths) > 1 else 'is'} at hand)" if paths else ""
        )
        reasons = "".join(f"\n  {error}" for error in errors)
        raise SourceError(
            f"{len(errors)} of {len(errors) + len(paths)} datasets could not be"
            f" fetched{fetched}:{reasons}"
        )
    return paths


def missing_datasets(sources: Iterable[str]) -> list[str]:
    """Return the published datasets among some sources that must be downloaded before they can be
    read.
    """
    named = dict.fromkeys(name for name in sources if name in DATASETS)
    return [name for name in named if not source.is_at_hand(DATASETS[name])]


def add_dataset(name: str, file: Path) -> source.DatasetSpec:
    """Keep a copy of the file of a dataset, whose SHA-256 is checked."""
    spec = _get_dataset(name)
    if not isinstance(content := spec.content, source.DataFile):
        raise UsageError(f"the dataset {name!r} is made by embstore: no file is needed.")
    sha256 = file_sha256(file)
    if sha256 != content.sha256:
        raise SourceError(
            f"{file} is not the file of the dataset {name!r}: its SHA-256 is {sha256}, and should"
            f" be {content.sha256}. Download it from {content.address}; pairs of your own"
            " take another name."
        )
    source.write_file(source.path_of(content), read_binary(file))
    return spec


def list_datasets(specs: Collection[source.DatasetSpec] | None = None) -> Table:
    """Return a table with one row per dataset; by default of all known datasets.

    A dataset is ``at_hand`` if it can be read without a download. One whose file has a wrong
    SHA-256 is ``damaged`` instead, and one whose file cannot be read neither; notes give the
    reasons and remedies.
    """
    if specs is None:
        specs = DATASETS.values()
    rows, notes = [], []
    for spec in specs:
        try:
            damage, is_readable = source.describe_damage(spec), source.is_at_hand(spec)
            note = damage
        except SourceError as error:
            damage, is_readable, note = None, False, str(error)
        notes += [note] if note else []
        low, high = spec.scores or (None, None)
        file = spec.content if isinstance(spec.content, source.DataFile) else None
        values = (
            spec.name,
            spec.kind,
            spec.unit.value,
            spec.rows,
            is_readable and damage is None,
            damage is not None,
            list(spec.columns),
            low,
            high,
            spec.licence or None,
            spec.help,
            spec.citation or None,
            file and file.address,
            file and file.sha256,
            file and str(source.path_of(file)),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    shown_states = ("at_hand", "damaged") if any(row["damaged"] for row in rows) else ("at_hand",)
    shown = Pivot(
        down=("name",), across=(), values=("kind", "unit", "rows", *shown_states, "licence")
    )
    return table(rows, columns=COLUMNS, notes=notes, pivot=shown)
