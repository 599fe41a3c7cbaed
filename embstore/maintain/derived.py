"""Update what is computed from the shards of a space: its indexes, keeping their kind, and its merged summary."""

from embstore.base import disk
from embstore.base.progress import Observer
from embstore.index.updating import readable_card, recall_notes, update_indexes
from embstore.storage.files.card import Card
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.summaries import read_merged
from embstore.storage.maintenance.space_summary import write_merged
from embstore.storage.transaction.manifest import committed_shards


def kind_of_indexes(paths: StorePaths, card: Card) -> str | None:
    """Return the requested kind of a space's indexes, from the first readable index card; None if it has no indexes."""
    stored = (readable_card(paths.index(card.space, layer)) for layer in card.layers)
    return next((index_card.asked for index_card in stored if index_card is not None), None)


def renew_indexes(paths: StorePaths, card: Card, observe: Observer) -> list[str]:
    """Update the indexes of a space, if it has any; return a note for each index below its target recall."""
    kind = kind_of_indexes(paths, card)
    return recall_notes(card, update_indexes(paths, card, kind, observe)) if kind else []


def renew_merged(paths: StorePaths, card: Card, *, force: bool = False) -> None:
    """Update the merged summary of a space, also one that is up to date with ``force``; remove it if it is wrong."""
    if force:
        disk.remove(paths.merged(card.space), missing_ok=True)
    write_merged(paths, card)
    merged = read_merged(paths, card)
    if merged is None or not merged.is_of(committed_shards(paths, card.space)):
        disk.remove(paths.merged(card.space), missing_ok=True)
