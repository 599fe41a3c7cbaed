"""One checkpoint's part of a build: encode what its spaces lack, write it, index it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
from numpy.typing import NDArray

from embstore.encode import Encoded, TooLongError
from embstore.errors import EncodeError
from embstore.indexing import update_indexes
from embstore.job import Job, SpacePlan
from embstore.report import Meter, Observer, SpaceReport
from embstore.skips import Skips
from embstore.storage.shards import Float16OverflowError, NonFiniteVectorError
from embstore.storage.writer import SpaceWriter, StoreWriter
from embstore.texts import Texts


class Run:
    """One checkpoint's part of a build, as it runs.

    Attributes:
        n_tokens: tokens that the model has read.
        n_forward_passes: how often it ran.
        n_bytes: bytes of the shards and indexes written.
        seconds: time in which vectors were made, written and indexed.
    """

    def __init__(self, store: StoreWriter, job: Job, texts: Texts, skips: Skips, observe: Observer) -> None:
        self._store, self._job, self._texts, self._skips, self._observe = store, job, texts, skips, observe
        self._embedded: dict[str, int] = {}
        self.n_tokens = self.n_forward_passes = self.n_bytes = 0
        self.seconds = 0.0

    def encode(self) -> None:
        """Encode the missing items, and write them shard by shard."""
        for space in self._job.spaces:
            self._store.add_space(space.card)
        for group in self._job.groups:
            self._encode(group)

    def _encode(self, group: list[SpacePlan]) -> None:
        items = self._job.missing_items(self._texts.items)
        meter = Meter(self._observe, self._job.model.checkpoint.name, items)
        stream = self._job.encode(self._job.passages(items), group)  # loads the weights
        with self._timed(), self._explained(), ExitStack() as stack:
            writers: dict[str, SpaceWriter] = {}
            stack.callback(self._count, writers)  # after the writers have written what they hold
            for space in group:
                writer = self._store.space_writer(space.card, self._texts.items)
                writers[space.card.space] = stack.enter_context(writer)
            for result in stream:
                if isinstance(result, Encoded):
                    self.n_tokens += result.n_tokens
                    self.n_forward_passes += 1
                    _write(result, group, writers)
                    meter.passed(result.item_ids.tolist(), self.n_tokens)
                else:
                    self._skips.add(result, group)
                    if result.outcome == "skipped":
                        meter.passed([result.item_id], self.n_tokens)

    def index(self) -> None:
        """Bring the indexes of the spaces up to date."""
        for space in self._job.spaces:
            with self._timed():
                options = self._job.options
                self.n_bytes += update_indexes(
                    self._store.paths, space.card, options.index, self._observe, memory=options.index_memory
                )

    def reports(self) -> list[SpaceReport]:
        """Return what was done for each space."""
        return [
            SpaceReport(
                space.card.space, space.card.model, self._embedded.get(space.card.space, 0), space.n_present,
                self._skips.reasons[space.card.space], self._skips.n_truncated[space.card.space],
            )
            for space in self._job.spaces
        ]  # fmt: skip

    def _count(self, writers: Mapping[str, SpaceWriter]) -> None:
        for name, writer in writers.items():
            self._embedded[name] = writer.n_written
            self.n_bytes += sum(shard.path.stat().st_size for shard in writer.shards)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say of a text that is too long where it stands, and of a vector that cannot be stored which text it is of."""
        try:
            yield
        except TooLongError as error:
            raise EncodeError(f"{error} It stands at {self._texts.origins[error.item_id]}.") from error
        except (NonFiniteVectorError, Float16OverflowError) as error:
            item = self._texts.items[error.item_id]
            checkpoint = self._job.model.checkpoint
            raise EncodeError(
                f"{error} The text is {item.shown[:200]!r} ({self._texts.origins[item.id]}), the checkpoint "
                f"{checkpoint.name!r} ({checkpoint.folder}). What was written before is whole."
            ) from error


def _write(result: Encoded, spaces: Sequence[SpacePlan], writers: Mapping[str, SpaceWriter]) -> None:
    for space in spaces:
        keep = _among(space.missing, result.item_ids)
        vectors = result.vectors[space.card.pooling]
        if not keep.all():
            vectors = vectors[:, keep]
        writers[space.card.space].add(result.item_ids[keep], vectors)


def _among(ascending: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of ``ids`` are in ``ascending`` (not empty)."""
    at = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[at] == ids
    return found
