"""The table of named datasets: to list, fetch, add and open them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from embstore.errors import SourceError, UnknownNameError, UsageError
from embstore.sources.cache import check_cached, file_sha256, is_at_hand, keep, path_of
from embstore.sources.download import Told, download
from embstore.sources.files import is_file, read_binary
from embstore.sources.own import add_own, own_dataset, own_datasets
from embstore.sources.published import PUBLISHED
from embstore.sources.source import Source
from embstore.sources.specs import WORD_LIST, DataFile, DatasetSpec, Made
from embstore.sources.words import count_words, read_words
from embstore.space import Unit

WORDS = DatasetSpec(
    name="words",
    kind=WORD_LIST,
    unit=Unit.WORD,
    rows=10_000,
    columns={"rank": int},
    content=Made(count_words, read_words),
    help="The most frequent English words, letters only; 10,000, or as many as words:N says.",
    scores=(1, 10_000),
    licence="CC BY-SA 4.0",
    citation="Robyn Speer (2022). rspeer/wordfreq: v3.0. Zenodo. https://doi.org/10.5281/zenodo.7199437",
    references=("speer2022",),
)

DATASETS: Mapping[str, DatasetSpec] = {spec.name: spec for spec in (WORDS, *PUBLISHED)}


def known_datasets() -> dict[str, DatasetSpec]:
    """Return all datasets by name: those of the table, then the user's own."""
    return {**DATASETS, **own_datasets()}


def find_dataset(spec: str) -> DatasetSpec | None:
    """Return the dataset of a name, with or without ``:size``; None if there is none."""
    name = spec.partition(":")[0]
    return DATASETS.get(name) or own_dataset(name)


def open_dataset(spec: str, dataset: DatasetSpec) -> Source:
    """Return the source of ``name`` or ``name:size``.

    Raises:
        UsageError: If the size is not a whole number above 0, or the dataset is always whole.
        SourceError: If the dataset is smaller than that, or not at hand, or its file was altered.
    """
    name, colon, given = spec.partition(":")
    if isinstance(content := dataset.content, DataFile):
        if colon:
            raise UsageError(f"{spec!r}: the dataset {name!r} is always whole. Write {name}, without a number.")
        return Source(name, partial(content.read, check_cached(dataset, content)), dataset)
    size = _size(spec, given, dataset) if colon else dataset.rows
    if colon and size > (most := content.count()):
        raise SourceError(f"{spec}: the dataset {name!r} has {most:,} texts. Ask for at most {name}:{most}.")
    # The default size written out is the default: else the store would hold the same rows under two names.
    called = name if size == dataset.rows else f"{name}:{size}"
    return Source(called, partial(content.read, size), dataset)


def fetch_dataset(name: str, told: Told = lambda done, total: None) -> Path | None:
    """Download the file of a dataset, unless it is at hand and sound.

    Args:
        name: Name of the dataset.
        told: Callback for progress: bytes received, total bytes.

    Returns:
        The file; None if there is none to download.

    Raises:
        UnknownNameError: If there is no such dataset.
        SourceError: If it cannot be downloaded, or is another file than it should be.
    """
    spec = _known(name)
    if not isinstance(file := spec.content, DataFile):
        return None
    if file.address is None:
        return check_cached(spec, file)
    path = path_of(file)
    if not (is_file(path) and file_sha256(path, str(path)) == file.sha256):
        download(spec, file, told)
    return path


def _known(name: str) -> DatasetSpec:
    spec = find_dataset(name)
    if spec is None or ":" in name:
        raise UnknownNameError("dataset", name, known_datasets(), "embstore datasets lists them.")
    return spec


def fetch_datasets(names: Sequence[str], told: Callable[[str, int, int], None]) -> dict[str, Path | None]:
    """Download the files of datasets, and continue with the others if one fails.

    Args:
        names: Names of the datasets.
        told: Callback for progress: name of the dataset, bytes received, total bytes.

    Returns:
        What :func:`fetch_dataset` gives for each.

    Raises:
        UnknownNameError: If there is no such dataset; nothing was downloaded.
        SourceError: If some cannot be downloaded; names the reason and remedy for each. The others are kept.
    """
    for name in names:
        _known(name)
    found: dict[str, Path | None] = {}
    refused: list[str] = []
    for name in dict.fromkeys(names):
        try:
            found[name] = fetch_dataset(name, partial(told, name))
        except SourceError as error:
            refused.append(str(error))
    if len(refused) == 1 and not found:
        raise SourceError(refused[0])
    if refused:
        kept = f" ({', '.join(found)} {'are' if len(found) > 1 else 'is'} at hand)" if found else ""
        said = "".join(f"\n  {error}" for error in refused)
        raise SourceError(f"{len(refused)} of {len(refused) + len(found)} datasets could not be fetched{kept}:{said}")
    return found


def missing_datasets(sources: Iterable[str]) -> list[str]:
    """Return the names of the published datasets among the sources that are not at hand."""
    named = dict.fromkeys(source for source in sources if source in DATASETS)
    return [name for name in named if not is_at_hand(DATASETS[name])]


def add_dataset(
    name: str,
    file: Path,
    *,
    kind: str | None = None,
    columns: Sequence[str] = (),
    unit: str = "word",
    delimiter: str | None = None,
) -> DatasetSpec:
    """Add a dataset: a local copy of a published one, with a checked hash, or a user's own table.

    Args:
        name: Name of the dataset.
        file: The copy, or the table (.csv, .tsv, .jsonl, .parquet).
        kind: Kind of the user's table, ``pairs`` or ``lexicon``; None for a published dataset.
        columns: Columns of the user's table: text, text and score of pairs, or text and value of a lexicon.
        unit: Unit of the user's table, ``word`` or ``sentence``.
        delimiter: Character that separates the columns of the user's CSV or TSV table, or ``tab``; None to find it.

    Raises:
        UnknownNameError, UsageError: an argument does not fit.
        SourceError: If the file cannot be read or written, is another one than it should be (says both hashes), or has
            a text where a number should be (says the line).
    """
    if kind is not None:
        return add_own(name, file, kind, columns, unit, tuple(DATASETS), delimiter)
    if name not in DATASETS:
        raise UnknownNameError(
            "dataset", name, DATASETS, "For a table of your own add --kind pairs|lexicon and --columns a,b,score."
        )
    spec = DATASETS[name]
    if not isinstance(content := spec.content, DataFile):
        raise UsageError(f"the dataset {name!r} is made by embstore: no file is needed.")
    if columns or delimiter:
        option = "--columns" if columns else "--delimiter"
        raise UsageError(f"{option} goes with --kind: the columns of the dataset {name!r} are known.")
    found = file_sha256(file, str(file))
    if found != content.sha256:
        raise SourceError(
            f"{file} is not the file of the dataset {name!r}: its SHA-256 is {found}, and should be {content.sha256}. "
            f"Download it from {content.address}, or add yours under another name with --kind and --columns."
        )
    keep(path_of(content), read_binary(file))
    return spec


def _size(spec: str, given: str, dataset: DatasetSpec) -> int:
    # int() refuses thousands of digits with an error of its own.
    if not (given.isascii() and given.isdecimal() and len(given) < 100 and int(given) > 0):
        raise UsageError(
            f"{spec!r}: {given!r} is not a number of texts. Write a whole number above 0, as in "
            f"{dataset.name}:{dataset.rows // 2}, or ./{spec} for a file of that name."
        )
    return int(given)
