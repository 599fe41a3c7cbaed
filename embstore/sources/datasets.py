"""The table of named datasets, and the reading of ``name`` and ``name:size``."""

from functools import partial

from embstore.errors import SourceError, UsageError
from embstore.sources.rows import DatasetSpec, Source
from embstore.sources.words import count_words, read_words
from embstore.space import Unit

DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="words",
            kind="word list",
            unit=Unit.WORD,
            help="The most frequent English words, letters only; 10,000, or as many as words:N says.",
            citation="Robyn Speer (2022). rspeer/wordfreq: v3.0. Zenodo. https://doi.org/10.5281/zenodo.7199437",
            licence="CC BY-SA 4.0",
            columns={"rank": int},
            default_size=10_000,
            count=count_words,
            read=read_words,
        ),
    )
}


def is_dataset(spec: str) -> bool:
    """Return whether ``spec`` is a dataset's name, with or without ``:size``."""
    return spec.partition(":")[0] in DATASETS


def open_dataset(spec: str) -> Source:
    """Return the source of ``name`` or ``name:size``.

    Raises:
        UsageError: the size is not a whole number above 0.
        SourceError: the dataset is smaller than that.
    """
    name, colon, given = spec.partition(":")
    dataset = DATASETS[name]
    size = _size(spec, given, dataset) if colon else dataset.default_size
    if colon and size > (most := dataset.count()):
        raise SourceError(f"{spec}: the dataset {name!r} has {most:,} texts. Ask for at most {name}:{most}.")
    # The default size written out is the default: else the store would hold the same rows under two names.
    called = name if size == dataset.default_size else f"{name}:{size}"
    return Source(called, partial(dataset.read, size), dataset)


def _size(spec: str, given: str, dataset: DatasetSpec) -> int:
    # int() refuses thousands of digits with an error of its own.
    if not (given.isascii() and given.isdecimal() and len(given) < 100 and int(given) > 0):
        raise UsageError(
            f"{spec!r}: {given!r} is not a number of texts. Write a whole number above 0, as in "
            f"{dataset.name}:{dataset.default_size // 2}, or ./{spec} for a file of that name."
        )
    return int(given)
