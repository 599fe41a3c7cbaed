"""List the texts of datasets and files that have no vector in a space."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.errors import QueryError
from embstore.base.messages import first_of
from embstore.base.space import IN_CONTEXT, Pooling, Unit, as_name, default_space_name
from embstore.base.table import Table, table
from embstore.base.text import Item, item_id, source_name
from embstore.metrics.data import Ids, Words
from embstore.storage.card import Card, SpaceFilter
from embstore.storage.catalog import Catalog

if TYPE_CHECKING:
    from embstore.sources.rows import Targets

COLUMNS = ("source", "space", "item_id", "text")
_TYPES = {"source": "string", "space": "string", "item_id": "integer", "text": "string"}


def missing(
    catalog: Catalog, sources: Sequence[str], spaces: SpaceFilter, targets: "Targets | None" = None
) -> Table:
    """List the texts of sources that are missing from spaces, one row per text and space."""
    cards = spaces.select(catalog.cards)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for source in sources:
        sides, remarks = _sides(catalog, source, {card.unit for card in cards}, targets)
        notes += remarks
        for card in cards:
            if card.unit in sides:
                missing_rows, note = _missing(catalog, card, source, sides[card.unit])
                rows += missing_rows
                notes.append(note)
    return table(rows, columns=COLUMNS, notes=notes, types=_TYPES)


def _missing(
    catalog: Catalog, card: Card, source: str, sides: Sequence[Words]
) -> tuple[list[dict[str, Any]], str]:
    """Return a row for each text missing from a space, and a note with their count."""
    texts = {
        item: text
        for words in sides
        for item, text in zip(words.ids.tolist(), words.texts, strict=True)
    }
    ids = np.fromiter(texts, np.int64, len(texts))
    missing_ids = ids[~np.isin(ids, catalog.ids(card.space))].tolist()
    rows = [
        {"source": source, "space": card.space, "item_id": item, "text": texts[item]}
        for item in missing_ids
    ]
    return (
        rows,
        f"{card.space} lacks {len(missing_ids) or 'none'} of the {len(texts)} texts of {source}.",
    )


def _sides(
    catalog: Catalog, source: str, units: set[Unit], targets: "Targets | None"
) -> tuple[dict[Unit, list[Words]], list[str]]:
    """Return unit → texts of a source (two lists for pairs), and remarks on how it was read."""
    if source_name(source) not in catalog.datasets():
        return _read(source, units, targets)
    unit_texts: dict[Unit, list[Words]] = {}
    refused: list[QueryError] = []
    for unit in sorted(units):
        try:
            columns = catalog.dataset(source, unit)
        except QueryError as error:
            refused.append(error)
            continue
        suffixes = [suffix for suffix in ("", "_2", "_3", "_4") if f"item_id{suffix}" in columns]
        unit_texts[unit] = [
            Words(columns[f"item_id{suffix}"], tuple(columns[f"text{suffix}"]))
            for suffix in suffixes
        ]
    if not unit_texts:
        raise refused[0]
    return unit_texts, []


def _read(
    source: str, units: set[Unit], targets: "Targets | None"
) -> tuple[dict[Unit, list[Words]], list[str]]:
    """Read the texts of a source that is not in the store."""
    from embstore.sources.datasets import find_dataset
    from embstore.sources.opening import open_source
    from embstore.sources.rows import Row

    opened = open_source(source, targets=None if find_dataset(source) else targets)
    own = opened.dataset.unit if opened.dataset else None if targets is None else Unit.OCCURRENCE
    if own is None and units == {Unit.TOKEN}:
        raise QueryError(
            "which tokens a text has, only a build of it says, and every space that matches is of"
            " tokens. Choose other spaces with `spaces`, `unit` or `models`."
        )
    if own is None and units <= {*IN_CONTEXT}:
        raise QueryError(
            "files are of words or sentences, and every space that matches is of occurrences. Say"
            " where the targets are with `span` or `targets`, or choose other spaces with `spaces`,"
            " `unit` or `models`."
        )
    if own is not None and own not in units:
        raise QueryError(
            f"{source!r} is of {own.value}s, and no space that matches is. Make one with: embstore"
            f" build {source}"
        )
    rows = [row for row in opened.rows() if isinstance(row, Row)]
    if own is Unit.OCCURRENCE:
        items = [
            Item.occurrence(*pair)
            for row in rows
            for pair in zip(row.texts, row.spans, strict=True)
        ]
        texts_of = {item.id: item.shown for item in items}
        return {
            own: [Words(np.fromiter(texts_of, np.int64), tuple(texts_of.values()))]
        }, opened.remarks
    texts = tuple(dict.fromkeys(text for row in rows for text in row.texts))
    sides = {
        unit: [Words(np.array([item_id(unit, text) for text in texts], np.int64), texts)]
        for unit in (units - {*IN_CONTEXT} if own is None else {own})
    }
    return sides, opened.remarks


_MAX_IN_COMMAND = 50  # the 25 + 25 attribute words of ValNorm fit


def find_missing(words: Sequence[Words], stored: Ids) -> tuple[str, ...]:
    """Return the distinct texts of some words whose ids are not among the stored ones."""
    missing = ((each, np.flatnonzero(~np.isin(each.ids, stored)).tolist()) for each in words)
    return tuple(dict.fromkeys(each.texts[i] for each, positions in missing for i in positions))


def missing_note(card: Card, missing: Sequence[str], total: str) -> str:
    """Return a sentence with the number of texts missing from a space, and the first of them."""
    return f"{card.space} lacks {len(missing)} {total}: {first_of(map(repr, missing))}."


def remedy(
    sources: Sequence[str], missing: Sequence[str], card: Card, *, may_skip: bool = True
) -> str:
    """Return the remedy for texts missing from a space, with the command that embeds them."""
    embed = f"Embed what is missing: {embed_command(sources, missing, card)}; "
    if card.made_otherwise is not None:
        made = f"The vectors of {card.space} were {card.made_otherwise}"
        embed = f"{made}, so that none can be added: "
    skip = "go on without it: missing='skip'; or " if may_skip else ""
    return f"{embed}{skip}choose other spaces with `spaces`."


def embed_command(sources: Sequence[str], missing: Sequence[str], card: Card) -> str:
    """Return the command that embeds missing texts into a space, from their sources or else from
    standard input.
    """
    from embstore.sources.datasets import find_dataset

    # Else a build may guess sentences; a dataset declares its unit.
    names_unit = any(len(text.split()) > 1 for text in missing)
    names_unit &= not sources or not all(map(find_dataset, sources))
    is_of_texts = card.unit is Unit.TOKEN  # which have the tokens
    is_long = is_of_texts or len(missing) > _MAX_IN_COMMAND
    if sources or is_long or card.made_otherwise is not None:
        return build_command(sources or ["FILE"], card, names_unit=names_unit)
    command = build_command(["-"], card, names_unit=names_unit)
    return f"printf '%s\\n' {shlex.join(missing)} | {command}"


def build_command(sources: Sequence[str], card: Card, *, names_unit: bool = False) -> str:
    """Return the command that embeds sources into a space; one of imported or pooled vectors takes
    no more.
    """
    if card.made_otherwise is not None:
        return card.pool_command or "embstore import FILE --name OTHER"
    from embstore.sources.own import find_file

    parts = ["embstore", "build"]
    for source in sources:
        file = find_file(source)
        if file is None or not file.columns:
            parts.append(source)
        else:
            parts += [str(file.path), "--column", ",".join(file.columns[:-1])]
    parts += ["--model", model_argument(card)]
    if card.unit is not Unit.WORD or names_unit:
        parts += ["--unit", card.unit.value]
    # The default depends on the unit.
    if card.unit is Unit.SENTENCE or card.pooling is not Pooling.LAST:
        parts += ["--pooling", card.pooling.value]
    if card.prompt:
        parts += ["--prompt", "NAME"]  # the card has the text of the prompt alone
    if card.template.pattern != "{text}":
        parts += ["--template", card.template.pattern]
    for option, value, default in (
        ("--dtype", card.dtype, "float32"),
        ("--weights-dtype", card.weights_dtype, "float32"),
        ("--untrained", card.untrained, None),
        ("--adapter", card.adapter, None),
        ("--name", card.space, default_space_name(card.model, card.unit, card.pooling)),
    ):
        parts += [] if value == default else [option, str(value)]
    return f"{shlex.join(parts)}"


def model_argument(card: Card) -> str:
    """Return the checkpoint of a space as the option ``--model`` takes it: a short name, a hub id
    or a folder.

    A name that the checkpoint has in this store alone is put before it: ``mine=/data/checkpoint``.
    """
    from embstore.encode.checkpoint_files import SHORT_NAMES

    short = {address.partition("@")[0]: name for name, address in SHORT_NAMES.items()}
    if card.checkpoint.startswith("pypi:"):
        target = own = "minilm"
    elif card.revision_name is None and card.checkpoint in short:
        target = own = short[card.checkpoint]
    else:
        own = as_name(card.checkpoint.rpartition("/")[2])
        is_named = card.revision is not None and card.revision_name is not None
        target = f"{card.checkpoint}@{card.revision_name}" if is_named else card.checkpoint
    return target if own == card.model else f"{card.model}={target}"
