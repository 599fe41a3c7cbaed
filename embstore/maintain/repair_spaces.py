"""Repair the spaces of a store: their cards, shards, summaries and indexes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.base import checksum, disk
from embstore.base.errors import DamagedError, FileAccessError, MissingFileError, UnsupportedFormatError
from embstore.base.progress import Observer
from embstore.base.summary import Summary
from embstore.index.updating import readable_card, update_indexes
from embstore.maintain.actions import Action
from embstore.maintain.derived import kind_of_indexes, renew_merged
from embstore.maintain.repair_log import SAME_SOURCES, RepairLog
from embstore.maintain.repair_tables import StoredTexts
from embstore.maintain.verify import verify_index, without_card
from embstore.storage.files.card import Card, read_card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.summaries import Merged, read_merged
from embstore.storage.maintenance.file_checks import Problem
from embstore.storage.maintenance.id_set import IdSet
from embstore.storage.maintenance.salvage import SoundShard, check_shard, keep_items, list_items, readable_ids
from embstore.storage.transaction.manifest import Snapshot, card_remedy

Ids = NDArray[np.int64]

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class SpacesRepair:
    """The repair of all spaces of a store.

    Attributes:
        log: List of actions, with the paths and the dry-run setting.
        snapshot: Files of the store.
        texts: Stored texts.
        observe: Callback for progress, in indexes.
    """

    log: RepairLog
    snapshot: Snapshot
    texts: StoredTexts
    observe: Observer

    @property
    def paths(self) -> StorePaths:
        """Paths of the store."""
        return self.log.paths

    def repair_all(self) -> None:
        """Repair every space that has a card, and report the spaces without one."""
        for path in map(self.paths.card, self.snapshot.spaces):
            try:
                self._repair_path(path)
            except FileAccessError as error:
                if error.writing:
                    raise
                reason = f"it could not be read: {error.reason}"
                if isinstance(error, MissingFileError) and Path(error.path) == path:
                    reason = f"it is missing. {card_remedy(path)}"
                self.log.leave(Path(error.path), reason)
        for path in map(self.paths.card, without_card(self.snapshot)):
            self.log.leave(path, f"it is missing, and there are shards of it. {card_remedy(path)}")

    def _repair_path(self, path: Path) -> None:
        """Repair a space, given the path of its card; if that is damaged, report it and leave the space."""
        try:
            card = read_card(path)
        except DamagedError as error:
            self._repair_card(path, error)
        else:
            self._repair_space(card)

    def _repair_card(self, path: Path, error: DamagedError) -> None:
        """Move out a file that is not the card of its space, and report an altered or newer one."""
        if isinstance(error, UnsupportedFormatError):
            self.log.leave(path, str(error))
        elif checksum.has_valid_checksum(disk.read(path)):
            self.log.move_out(path, str(error))  # intact, but of another space or not a card
            if path.stem in self.snapshot.spaces_with_shards:
                self.log.leave(path, f"it is missing, and there are shards of it. {card_remedy(path)}")
        else:
            self.log.leave(path, f"its content was altered. {card_remedy(path)}")

    def _repair_space(self, card: Card) -> None:
        """Repair the shards, merged summary and indexes of a space."""
        # If no index card is readable, the kind of the indexes is unknown.
        kind = kind_of_indexes(self.paths, card) or (index.AUTO if self.paths.index_pairs(card.space) else None)
        sound = self._sound_shards(card)
        kept = self._deduplicate(card, sound)
        ids = np.concatenate([_NONE, *(sound_shard.ids for sound_shard in sound)])
        if n_missing := len(np.setdiff1d(ids, self.texts.ids)):
            self.log.leave(self.paths.items, f"items of {card.space} have no text here; {SAME_SOURCES}", n_missing)
        self._repair_merged(card, kept)
        if kind:
            self._repair_indexes(card, [sound_shard.shard for sound_shard in kept], np.unique(ids), kind)

    def _sound_shards(self, card: Card) -> list[SoundShard]:
        """Return the intact shards, rebuilding their summaries if necessary; move damaged shards out of the store."""
        sound = []
        for shard in self.snapshot.shards(self.paths, card.space):
            found = check_shard(shard, card)
            disk.release(shard.path)
            if isinstance(found, Problem):
                self._take_out_shard(card, shard, found.problem)
                continue
            sound.append(found)
            if not found.has_summary(card):
                action = Action(
                    "rebuilt", shard.summary_path, "it was missing, or not that of its shard", len(found.ids)
                )
                self.log.do(action, partial(found.write_summary, card))
        return sound

    def _take_out_shard(self, card: Card, shard: Shard, problem: str) -> None:
        """Move a damaged shard out of the store, with a list of its items if their ids are readable."""
        ids = readable_ids(shard, card)
        listing = self.paths.item_list(shard.path)
        if ids is None:
            content = "Its item ids cannot be read"
        else:
            content = "Its items are listed beside it, in damaged/"
            if not self.log.dry_run:
                list_items(listing, ids, self.texts.files)
        detail = f"{problem}. {content}; {SAME_SOURCES}"
        self.log.move_out(shard.path, detail, None if ids is None else len(ids))
        if not self.log.dry_run:
            disk.remove(shard.summary_path, missing_ok=True)

    def _deduplicate(self, card: Card, sound: Sequence[SoundShard]) -> list[SoundShard]:
        """Deduplicate items across shards, keeping each in the largest shard; return the shards that stay unchanged."""
        seen, kept = IdSet(), []
        for sound_shard in sorted(sound, key=lambda sound_shard: (-len(sound_shard.ids), sound_shard.shard.name)):
            new = seen.missing(sound_shard.ids)
            if len(new) == len(sound_shard.ids):
                kept.append(sound_shard)
            else:
                action = Action(
                    "rewritten" if len(new) else "removed", sound_shard.shard.path, "another shard has items of it too",
                    len(sound_shard.ids) - len(new),
                )  # fmt: skip
                self.log.do(action, partial(self._keep, card, sound_shard.shard, new))
            seen.add(new)
        return kept

    def _keep(self, card: Card, shard: Shard, ids: Ids) -> None:
        """Rewrite a shard with only these items, after removing the indexes of its space."""
        update_indexes(self.paths, card, "none")  # the indexes contain the duplicates too
        keep_items(self.paths, card, shard, ids)

    def _repair_merged(self, card: Card, kept: Sequence[SoundShard]) -> None:
        """Rebuild the merged summary, if there is one, unless it is the sum of the summaries of the kept shards."""
        path = self.paths.merged(card.space)
        if not disk.exists(path):
            return
        merged = read_merged(self.paths, card)
        if merged is None or not _is_sum(merged, kept, card):
            action = Action("rebuilt", path, "it was altered, or not the sum of its shards")
            self.log.do(action, partial(_renew_merged, self.paths, card))

    def _repair_indexes(self, card: Card, kept: Sequence[Shard], ids: Ids, kind: str) -> None:
        """Rebuild the indexes that are damaged or do not cover the current shards."""
        n_behind = 0
        for layer in card.layers:
            path = self.paths.index(card.space, layer)
            problems = list(verify_index(self.paths, card, layer, kept, ids))
            disk.release(path)
            if any(sound_shard.file.stem == path.stem for sound_shard in problems):
                action = Action("removed", path, "it, or its card, was altered or is that of other vectors")
                self.log.do(action, partial(index.remove_index, path))
                n_behind += 1
            elif problems or (stored := readable_card(path)) is None or not stored.covers(shard.name for shard in kept):
                n_behind += 1
        if n_behind and len(ids):
            action = Action("rebuilt", self.paths.indexes(card.space), f"the indexes of {n_behind} layers", len(ids))
            self.log.do(action, partial(update_indexes, self.paths, card, kind, self.observe))


def _renew_merged(paths: StorePaths, card: Card) -> None:
    disk.remove(paths.merged(card.space), missing_ok=True)
    renew_merged(paths, card)


def _is_sum(merged: Merged, shards: Sequence[SoundShard], card: Card) -> bool:
    """Return whether a merged summary is the sum of the summaries of these shards."""
    if not merged.is_of(shard.shard for shard in shards):
        return False
    sums = (Summary.sum_of((shard.sums[i] for shard in shards), card.dim) for i in range(len(card.layers)))
    return all(merged.sums[layer].isclose(total) for layer, total in zip(card.layers.ids, sums, strict=True))
