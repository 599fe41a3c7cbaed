"""List, fetch, add and open named datasets."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from embstore.base.errors import SourceAccessError, SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.base.table import Pivot, Table, table
from embstore.sources.cache import (
    ProgressCallback,
    check_cached,
    describe_damage,
    download,
    is_at_hand,
    path_of,
    write_file,
)  # fmt: skip
from embstore.sources.files import file_sha256, is_file, read_binary
from embstore.sources.own import add_own, own_dataset, own_datasets
from embstore.sources.published import PUBLISHED
from embstore.sources.rows import Row
from embstore.sources.source import WORD_LIST, DataFile, DatasetSpec, GeneratedContent, Source

COLUMNS = (
    "name", "kind", "unit", "rows", "at_hand", "damaged", "columns", "score_min", "score_max", "licence", "help",
    "citation", "address", "sha256", "file",
)  # fmt: skip


def _words() -> Iterator[str]:
    """Yield the English words of wordfreq by descending frequency, then alphabetically; letters only."""
    import wordfreq  # loads 25 MB of word lists, for this dataset only

    return (word for word in wordfreq.iter_wordlist("en") if word.isalpha())


def _read_words(size: int) -> Iterator[Row]:
    """Yield the ``size`` most frequent words, with their ``rank`` from 1."""
    for rank, word in enumerate(islice(_words(), size), 1):
        yield Row(word, f"words rank {rank}", {"rank": rank})


WORDS = DatasetSpec(
    name="words",
    kind=WORD_LIST,
    unit=Unit.WORD,
    rows=10_000,
    columns={"rank": int},
    content=GeneratedContent(lambda: sum(1 for _ in _words()), _read_words),
    help="The most frequent English words, letters only; 10,000, or as many as words:N says.",
    scores=(1, 10_000),
    licence="CC BY-SA 4.0",
    citation="Robyn Speer (2022). rspeer/wordfreq: v3.0. Zenodo. https://doi.org/10.5281/zenodo.7199437",
    references=("speer2022",),
)

DATASETS: Mapping[str, DatasetSpec] = {spec.name: spec for spec in (WORDS, *PUBLISHED)}
"""Name → dataset that embstore knows."""


def known_datasets() -> dict[str, DatasetSpec]:
    """Return name → dataset: those of ``DATASETS``, then the user's own."""
    return {**DATASETS, **own_datasets()}


def find_dataset(spec: str) -> DatasetSpec | None:
    """Return the dataset named by ``name`` or ``name:size``; None if there is none."""
    name = spec.partition(":")[0]
    return DATASETS.get(name) or own_dataset(name)


def get_datasets(specs: Iterable[str]) -> dict[str, DatasetSpec]:
    """Return the datasets named by ``name`` or ``name:size``, each once."""
    found = {spec: find_dataset(spec) for spec in specs}
    for spec, dataset in found.items():
        if dataset is None:
            hint = "A table of your own becomes a dataset with: embstore datasets add NAME FILE --kind pairs"
            raise UnknownNameError("dataset", spec, known_datasets(), hint)
    return {spec: dataset for spec, dataset in found.items() if dataset is not None}


def open_dataset(spec: str, dataset: DatasetSpec) -> Source:
    """Open a dataset."""
    name, colon, number = spec.partition(":")
    if isinstance(content := dataset.content, DataFile):
        if colon:
            raise UsageError(f"{spec!r}: the dataset {name!r} is always whole. Write {name}, without a number.")
        return Source(name, partial(content.read, check_cached(dataset, content)), dataset)
    size = dataset.rows
    if colon:
        # int() fails on more than 4,300 digits.
        if not (number.isascii() and number.isdecimal() and len(number) < 100 and int(number) > 0):
            raise UsageError(
                f"{spec!r}: {number!r} is not a number of texts. Write a whole number above 0, as in "
                f"{dataset.name}:{dataset.rows // 2}, or ./{spec} for a file of that name."
            )
        size = int(number)
    if colon and size > (n_available := content.count()):
        raise SourceError(
            f"{spec}: the dataset {name!r} has {n_available:,} texts. Ask for at most {name}:{n_available}."
        )
    # With its default size it has the same name as without, so that the store does not hold it under two names.
    stored_name = name if size == dataset.rows else f"{name}:{size}"
    return Source(stored_name, partial(content.read, size), dataset)


def fetch_dataset(name: str, report: ProgressCallback = lambda done, total: None) -> Path | None:
    """Download the file of a dataset, unless it exists with the right SHA-256."""
    spec = _get_dataset(name)
    if not isinstance(file := spec.content, DataFile):
        return None
    if file.address is None:
        return check_cached(spec, file)
    path = path_of(file)
    if not (is_file(path) and file_sha256(path) == file.sha256):
        download(spec, file, report)
    return path


def _get_dataset(name: str) -> DatasetSpec:
    """Return the dataset of a name; raise UnknownNameError if there is none, or if a size follows (``words:5000``)."""
    spec = find_dataset(name)
    if spec is None or ":" in name:
        raise UnknownNameError("dataset", name, known_datasets(), "embstore datasets lists them.")
    return spec


def fetch_datasets(names: Sequence[str], report: Callable[[str, int, int], None]) -> dict[str, Path | None]:
    """Download the files of datasets; if one fails, continue with the others before raising an error."""
    for name in names:
        _get_dataset(name)
    paths: dict[str, Path | None] = {}
    errors: list[str] = []
    for name in dict.fromkeys(names):
        try:
            paths[name] = fetch_dataset(name, partial(report, name))
        except SourceError as error:
            errors.append(str(error))
    if len(errors) == 1 and not paths:
        raise SourceError(errors[0])
    if errors:
        fetched = f" ({', '.join(paths)} {'are' if len(paths) > 1 else 'is'} at hand)" if paths else ""
        reasons = "".join(f"\n  {error}" for error in errors)
        raise SourceError(
            f"{len(errors)} of {len(errors) + len(paths)} datasets could not be fetched{fetched}:{reasons}"
        )
    return paths


def missing_datasets(sources: Iterable[str]) -> list[str]:
    """Return the published datasets among some sources that must be downloaded before they can be read."""
    named = dict.fromkeys(source for source in sources if source in DATASETS)
    return [name for name in named if not is_at_hand(DATASETS[name])]


def add_dataset(
    name: str, file: Path, *, kind: str | None = None, columns: Sequence[str] = (), unit: str = "word",
    delimiter: str | None = None,
) -> DatasetSpec:  # fmt: skip
    """Add a dataset: a copy of a published one, whose SHA-256 is checked, or a user's own table."""
    if kind is not None:
        return add_own(name, file, kind, columns, unit, tuple(DATASETS), delimiter)
    if name not in DATASETS:
        hint = "For a table of your own add ⦃kind=pairs|lexicon|analogies⦄, and for a table its ⦃columns⦄."
        raise UnknownNameError("dataset", name, DATASETS, hint)
    spec = DATASETS[name]
    if not isinstance(content := spec.content, DataFile):
        raise UsageError(f"the dataset {name!r} is made by embstore: no file is needed.")
    if columns or delimiter:
        option = "⦃columns⦄" if columns else "⦃delimiter⦄"
        raise UsageError(f"{option} goes with ⦃kind⦄: the columns of the dataset {name!r} are known.")
    sha256 = file_sha256(file)
    if sha256 != content.sha256:
        raise SourceError(
            f"{file} is not the file of the dataset {name!r}: its SHA-256 is {sha256}, and should be {content.sha256}. "
            f"Download it from {content.address}, or add yours under another name with ⦃kind⦄ and ⦃columns⦄."
        )
    write_file(path_of(content), read_binary(file))
    return spec


def list_datasets(specs: Collection[DatasetSpec] | None = None) -> Table:
    """Return a table with one row per dataset; by default of all known datasets.

    A dataset is ``at_hand`` if it can be read without a download. One whose file has a wrong SHA-256 is ``damaged``
    instead, and one whose file cannot be read neither; notes give the reasons and remedies.
    """
    if specs is None:
        specs = known_datasets().values()
    rows, notes = [], []
    for spec in specs:
        try:
            damage, is_readable = describe_damage(spec), is_at_hand(spec)
            note = damage
        except SourceAccessError as error:
            damage, is_readable, note = None, False, str(error)
        notes += [note] if note else []
        low, high = spec.scores or (None, None)
        file = spec.content if isinstance(spec.content, DataFile) else None
        values = (
            spec.name, spec.kind, spec.unit.value, spec.rows, is_readable and damage is None, damage is not None,
            list(spec.columns), low, high, spec.licence or None, spec.help, spec.citation or None,
            file and file.address, file and file.sha256, file and str(path_of(file)),
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    shown_states = ("at_hand", "damaged") if any(row["damaged"] for row in rows) else ("at_hand",)
    shown = Pivot(down=("name",), across=(), values=("kind", "unit", "rows", *shown_states, "licence"))
    return table(rows, columns=COLUMNS, notes=notes, pivot=shown)
