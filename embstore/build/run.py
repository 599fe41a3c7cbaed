"""Run the job of one checkpoint: encode the missing items, write their shards, index them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from embstore.base import disk
from embstore.base.errors import EmbstoreError, EncodeError, UsageError
from embstore.base.progress import Observer
from embstore.build.job import Group, Job, Model
from embstore.build.range_queue import RangeOutcome
from embstore.build.ranges import Step, encode_ranges, range_tasks
from embstore.build.report import Meter, SpaceReport, count
from embstore.build.skips import Skips
from embstore.build.worker import RangeResult
from embstore.encode import ModelFailsError, TooLongError
from embstore.index.updating import recall_notes, update_indexes
from embstore.storage.files.paths import Shard
from embstore.storage.files.shards import Float16OverflowError, NonFiniteVectorError
from embstore.storage.staging.texts import StoredTexts
from embstore.storage.writer import SpaceWriter, StoreWriter

if TYPE_CHECKING:
    from embstore.base.text import Item
    from embstore.storage.staging.staging import Ids

N_LISTED = 5
"""Number of texts that the message about lost ones shows."""


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
        job: The job.
        lost: Items over which workers of a cluster died again and again.
        seconds: Seconds spent encoding, writing and indexing.
        lengths: Space name → ids and numbers of tokens of its new items, both (n,), in parts.
    """

    def __init__(self, store: StoreWriter, job: Job, item_texts: StoredTexts, skips: Skips, observe: Observer) -> None:
        self._store, self.job, self._item_texts, self._skips, self._observe = store, job, item_texts, skips, observe
        self._embedded: dict[str, int] = {}
        self.n_tokens = self.n_forward_passes = self.n_bytes = 0
        self.seconds = 0.0
        self.notes: list[str] = []
        self.lost: list[Item] = []
        self.lengths: dict[str, list[tuple[Ids, Ids]]] = {space: [] for space in self.spaces}

    @property
    def model(self) -> Model:
        """Checkpoint of the job."""
        return self.job.model

    @property
    def spaces(self) -> list[str]:
        """Names of the job's spaces."""
        return [space.card.space for space in self.job.spaces]

    def encode(self) -> None:
        """Encode the missing items in this process; a range is written as shards while the next one is encoded."""
        for group in self.job.groups:
            with self.timed(), self.explained():
                self._encode(group)

    def _encode(self, group: Group) -> None:
        """Encode the missing items of one group of spaces."""
        meter = Meter(self._observe, self.model.label, group.work.n_items, group.work.size)
        encoder = self.model.encoder  # loads the weights
        with ExitStack() as stack:
            writers: dict[str, SpaceWriter[Shard]] = {}
            stack.callback(self._count, writers)  # runs after the writers have flushed
            for card in group.cards:
                writers[card.space] = stack.enter_context(self._store.space_writer(card, self._item_texts.write))
            for step in encode_ranges(range_tasks(group, self.job.options), encoder, [*writers.values()]):
                self._record(step, group, meter)

    def commit(self, group: Group, outcome: RangeOutcome) -> None:
        """Commit the shards of a range that a worker of a cluster has encoded.

        Args:
            group: Spaces of the range.
            outcome: What became of it; without a result, its items are listed by :meth:`check_lost`.

        Raises:
            EmbstoreError: The worker could not encode it.
        """
        task, result = outcome.task, outcome.result
        if isinstance(result, EmbstoreError):
            raise result
        if result is None:
            self.lost += [item for window in task.windows for item in window.items()]
            return
        for card, ids, shard in zip(group.cards, task.embedded(result.steps), result.shards, strict=True):
            if shard is not None:
                self._store.commit(card, ids, self._item_texts.write, shard)
                self._embedded[card.space] = self._embedded.get(card.space, 0) + len(ids)
                self.n_bytes += disk.size(shard.shard.path)

    def record(self, group: Group, outcome: RangeOutcome, meter: Meter) -> None:
        """Count what became of the items of a committed range, and report it.

        Args:
            group: Spaces of the range.
            outcome: What became of the range.
            meter: Meter of the whole encoding.
        """
        if isinstance(outcome.result, RangeResult):
            for step in outcome.result.steps:
                self._record(step, group, meter)

    def check_lost(self) -> None:
        """Raise EncodeError, with the texts, if workers died again and again over some."""
        if not self.lost:
            return
        places = [self.job.missing.staging.find(item.id)[1] for item in self.lost[:N_LISTED]]
        listed = "; ".join(f"{item.shown[:100]!r} ({place})" for item, place in zip(self.lost, places, strict=False))
        more = f"; and {len(self.lost) - N_LISTED:,} more" if len(self.lost) > N_LISTED else ""
        raise EncodeError(
            f"every worker died that encoded {count(len(self.lost), 'text')} with the checkpoint {self.model.label!r}: "
            f"{listed}{more}. All others are embedded. If memory is short, lower ⦃batch-tokens⦄; else leave out what "
            "ends the process, and run the same command again."
        )

    def _record(self, step: Step, group: Group, meter: Meter) -> None:
        """Count what became of some items of a group of spaces, and report it."""
        self.n_tokens += step.n_tokens
        self.n_forward_passes += step.n_forward_passes
        if step.skipped is not None:
            self._skips.add(step.skipped, step.spaces)
        if (lengths := step.lengths) is not None:
            for card, is_new in zip(group.cards, lengths.is_new, strict=True):
                self.lengths[card.space].append((lengths.ids[is_new], lengths.n_tokens[is_new]))
        meter.advance(step.n, step.work, step.n_tokens)

    def index(self) -> None:
        """Update the indexes of the job's spaces.

        Raises:
            UsageError: The memory limit is too small for an index.
        """
        for space in self.job.spaces:
            with self.timed():
                options = self.job.options
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
            for space in self.job.spaces
        ]  # fmt: skip

    def _count(self, writers: Mapping[str, SpaceWriter[Shard]]) -> None:
        """Record the number of items written to each space, and add the bytes of the new shards to :attr:`n_bytes`.

        Args:
            writers: Space name → its writer, after the last shard was written.
        """
        for name, writer in writers.items():
            self._embedded[name] = writer.n_written
            self.n_bytes += sum(disk.size(shard.path) for shard in writer.shards)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the duration of the context to :attr:`seconds`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Re-raise encoding errors as EncodeError with the text and its place in the sources."""
        staging = self.job.missing.staging
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
            checkpoint = self.model.checkpoint
            raise EncodeError(
                f"{error} The text is {item.shown[:200]!r} ({place}), the checkpoint "
                f"{self.model.label!r} ({checkpoint.folder}). What was written before is whole."
            ) from error
