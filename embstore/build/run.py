"""Run the job of one checkpoint: encode the missing items, write their shards, index them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from embstore import disk
from embstore.build.job import Group, Job
from embstore.build.ranges import Step, range_tasks
from embstore.build.report import Meter, SpaceReport
from embstore.build.skips import Skips
from embstore.encode import ModelFailsError, TooLongError
from embstore.errors import EncodeError, UsageError
from embstore.indexing import recall_notes, update_indexes
from embstore.progress import Observer
from embstore.storage.files.shards import Float16OverflowError, NonFiniteVectorError
from embstore.storage.staging.texts import StoredTexts
from embstore.storage.writer import SpaceWriter, StoreWriter


class Run:
    """Runs the job of one checkpoint.

    Args:
        store: Writer of the store.
        job: Job to run.
        item_texts: Texts of the items; those missing from the store are written with the vectors.
        skips: Skipped texts, extended by the run.
        observe: Callback for progress.

    Attributes:
        n_tokens: Number of tokens read by the model.
        n_forward_passes: Number of forward passes.
        n_bytes: Bytes of the shards and indexes written.
        notes: Notes for the user about the indexes.
        seconds: Seconds spent encoding, writing and indexing.
    """

    def __init__(self, store: StoreWriter, job: Job, item_texts: StoredTexts, skips: Skips, observe: Observer) -> None:
        self._store, self._job, self._item_texts, self._skips, self._observe = store, job, item_texts, skips, observe
        self._embedded: dict[str, int] = {}
        self.n_tokens = self.n_forward_passes = self.n_bytes = 0
        self.seconds = 0.0
        self.notes: list[str] = []

    def encode(self) -> None:
        """Encode the missing items, part by part; a part is written as a shard while the next one is encoded."""
        for group in self._job.groups:
            self._encode(group)

    def _encode(self, group: Group) -> None:
        """Encode the missing items of one group of spaces."""
        meter = Meter(self._observe, self._job.model.checkpoint.name, group.work.n_items, group.work.size)
        encoder = self._job.model.encoder  # loads the weights
        with self._timed(), self._explained(), ExitStack() as stack:
            writers: dict[str, SpaceWriter] = {}
            stack.callback(self._count, writers)  # runs after the writers have flushed
            for card in group.cards:
                writers[card.space] = stack.enter_context(self._store.space_writer(card, self._item_texts.write))
            for task in range_tasks(group, self._job.options):
                for step in task.encode(encoder, [*writers.values()]):
                    self._record(step, meter)

    def _record(self, step: Step, meter: Meter) -> None:
        """Count what became of some items, and report it."""
        self.n_tokens += step.n_tokens
        self.n_forward_passes += step.n_forward_passes
        if step.skipped is not None:
            self._skips.add(step.skipped, step.spaces)
        meter.advance(step.n, step.work, self.n_tokens)

    def index(self) -> None:
        """Update the indexes of the job's spaces.

        Raises:
            UsageError: The memory limit is too small for an index.
        """
        for space in self._job.spaces:
            with self._timed():
                options = self._job.options
                try:
                    indexes = update_indexes(
                        self._store.paths, space.card, options.index, self._observe, memory=options.index_memory
                    )
                except UsageError as error:
                    raise UsageError(
                        f"{error} The vectors are kept. Go on with: embstore index --index-memory …"
                    ) from error
                self.n_bytes += sum(index.n_bytes for index in indexes)
                self.notes += recall_notes(space.card, indexes)

    def reports(self) -> list[SpaceReport]:
        """Return the result for each space."""
        return [
            SpaceReport(
                space.card.space, space.card.model, self._embedded.get(space.card.space, 0), space.n_present,
                self._skips.reasons[space.card.space], self._skips.n_truncated[space.card.space], space.n_elsewhere,
            )
            for space in self._job.spaces
        ]  # fmt: skip

    def _count(self, writers: Mapping[str, SpaceWriter]) -> None:
        """Record the number of items written to each space, and add the bytes of the new shards to :attr:`n_bytes`.

        Args:
            writers: Space name → its writer, after the last shard was written.
        """
        for name, writer in writers.items():
            self._embedded[name] = writer.n_written
            self.n_bytes += sum(disk.size(shard.path) for shard in writer.shards)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Add the duration of the context to :attr:`seconds`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Re-raise encoding errors as EncodeError with the text and its place in the sources."""
        staging = self._job.missing.staging
        try:
            yield
        except TooLongError as error:
            _, place = staging.find(error.item_id)
            raise EncodeError(f"{error} It stands at {place}.") from error
        except ModelFailsError as error:
            item, place = staging.find(error.item_id)
            raise EncodeError(f"{error} The first is {item.shown[:200]!r} ({place}).") from error
        except (NonFiniteVectorError, Float16OverflowError) as error:
            item, place = staging.find(error.item_id)
            checkpoint = self._job.model.checkpoint
            raise EncodeError(
                f"{error} The text is {item.shown[:200]!r} ({place}), the checkpoint "
                f"{checkpoint.name!r} ({checkpoint.folder}). What was written before is whole."
            ) from error
