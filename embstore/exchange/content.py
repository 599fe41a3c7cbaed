"""Check that a place has nothing that a copy of a store would remove or contradict."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embstore.base import disk
from embstore.base.errors import SpaceMismatchError, StoreError
from embstore.exchange.part import Part
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.storage.files.tables import read_part
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.column_tables import new_columns
from embstore.storage.maintenance.import_store import merged_dataset, new_skipped


def check_content(part: Part, source: Catalog, stored: Catalog, place: str) -> None:
    """Check that all that a place has is part of what is copied there.

    Args:
        part: The files that are copied.
        source: Catalog of their store.
        stored: Catalog of the place.
        place: Name of the place, for messages.

    Raises:
        SpaceMismatchError: A space of the same name is another one.
        StoreError: The place has a space, items, skipped texts or a dataset that would be lost.
    """
    for space, card in part.cards.items():
        if space not in stored.cards:
            continue
        if different := stored.cards[space].differences(card):
            raise _mismatch(stored.cards[space], card, source.cards[space], [*different], place)
        _check_items(part, source, stored, space, place)
    if part.is_whole:
        if others := sorted({*stored.cards} - {*part.cards}):
            raise _other(place, f"the space {others[0]}" if len(others) == 1 else f"the spaces {', '.join(others)}")
        _check_tables(source, stored, place)


def _mismatch(stored: Card, copied: Card, source: Card, different: Sequence[str], place: str) -> SpaceMismatchError:
    """Return the error for a space of which a place has another one, or other layers."""
    if [*different] != ["layers"]:
        return SpaceMismatchError(
            f"{place} has another space of the name {stored.space!r}: its {stored.describe_differences(copied)}. "
            "Nothing was copied. Copy other spaces with ⦃space⦄, or name another place."
        )
    there, here = (",".join(card.layers.names) for card in (stored, copied))
    remedies = []
    if {*stored.layers.members} <= {*source.layers.members}:
        remedies.append(f"To bring those up to date: ⦃space={stored.space}⦄ ⦃layer={there}⦄.")
    other = f"For the layers {here} name another place"
    if not place.startswith("hf://"):
        other += f", or remove the space there first: embstore remove --space {stored.space} --store {place}"
    return SpaceMismatchError(
        f"{place} has the layers {there} of {stored.space}, not {here}. Nothing was copied. "
        + " ".join([*remedies, other])
    )


def _check_items(part: Part, source: Catalog, stored: Catalog, space: str, place: str) -> None:
    card = stored.cards[space]
    known = {key.rpartition("/")[2] for key in part.files if key.startswith(f"embeddings/space={space}/")}
    others = [shard for shard in stored.shards[space] if shard.path.name not in known]
    if others:
        ids = LayerVectors(others, card.layers.ids[0], card.dim).ids()
        if n := len(np.setdiff1d(ids, source.ids(space))):
            raise _other(place, f"{n:,} items of {space}")


def _check_tables(source: Catalog, stored: Catalog, place: str) -> None:
    files = _others(stored.item_files, source.item_files)
    ids = [read_part(path, ["item_id"])["item_id"].to_numpy() for path in files]
    if ids and (n := len(np.setdiff1d(np.concatenate(ids), source.item_ids()))):
        raise _other(place, f"{n:,} texts")
    spaces = {*source.cards, *stored.cards, None}
    files = _others(stored.skipped_files, source.skipped_files)
    if files and (rows := new_skipped(files, source.skipped_files, spaces)) is not None:
        raise _other(place, f"{len(rows):,} skipped texts")
    files = _others(stored.column_files, source.column_files)
    for rows in new_columns(source.paths.root, source.column_files, stored.paths.root, files, stored.cards):
        names = [name for name in rows.column_names[1:] if rows[name].null_count < len(rows)]
        raise _other(place, f"values of columns ({', '.join(names)}) of {len(rows):,} items")
    for path in stored.paths.dataset_files():
        own = source.paths.dataset(path.stem)
        if not disk.exists(own):
            raise _other(place, f"the dataset {path.stem}")
        if (merged := merged_dataset(path, own, None)).n_new or merged.differing:
            raise _other(place, f"other rows of the dataset {path.stem}")


def _others(files: Sequence[Path], known: Sequence[Path]) -> list[Path]:
    names = {path.name for path in known}
    return [path for path in files if path.name not in names]


def _other(place: str, what: str) -> StoreError:
    return StoreError(
        f"{place} has other content, which a copy would remove: {what}. Nothing was copied. To keep both, copy single "
        "spaces with ⦃space⦄, or unite the stores with embstore merge; else name another place."
    )
