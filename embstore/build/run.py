"""Run the job of one checkpoint: encode the missing items, write their shards, index them."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from embstore.base.arrays import Ids
from embstore.base.errors import EmbstoreError, EncodeError
from embstore.base.messages import count
from embstore.base.progress import Progress, report_progress
from embstore.base.text import IS_SPECIAL, N_TOKENS, TOKEN_INDEX
from embstore.build.job import Group, Job, Model, SpacePlan, item_passages
from embstore.build.on_ray import RangeOutcome
from embstore.build.ranges import RangeResult, Step, encode_ranges, range_tasks
from embstore.build.report import Meter, SpaceReport, reason_key
from embstore.build.texts import Texts
from embstore.encode.recipe_head import reader
from embstore.encode.records import ModelFailsError, Skipped, TooLongError
from embstore.index.updating import recall_notes, update_indexes
from embstore.storage import keys
from embstore.storage.arrow import to_numpy
from embstore.storage.cache import StoreFiles
from embstore.storage.column_tables import without_columns
from embstore.storage.item_columns import space_columns
from embstore.storage.manifest import Change, Manifest
from embstore.storage.staging.columns import SpaceColumn
from embstore.storage.staging.missing import SkipList, StoredTexts
from embstore.storage.vectors import InvalidVectorError
from embstore.storage.writer import SpaceWriter, StoreWriter

if TYPE_CHECKING:
    from embstore.base.text import Item
    from embstore.build.on_ray import Cluster

N_LISTED = 5
"""Number of texts that the message about lost ones shows."""

TokenCounts = tuple[Ids, Ids]
"""Item ids and numbers of tokens, both int64 (n,)."""


class Skips:
    """The skipped and truncated items of a build."""

    def __init__(self, texts: Texts, jobs: Sequence[Job], files: StoreFiles) -> None:
        self._list = SkipList(texts.staging, files)
        for job in jobs:
            self._list.add_invalid([space.card.space for space in job.spaces], job.parts)
        self.n_truncated: Counter[str] = Counter()
        self.reasons = {
            space.card.space: Counter(space.unfit) for job in jobs for space in job.spaces
        }

    def add(self, skipped: Skipped, spaces: Sequence[str]) -> None:
        """Count and list an item that the encoder skipped or truncated."""
        for name in spaces:
            if skipped.outcome == "skipped":
                self.reasons[name][reason_key(skipped.reason)] += 1
            else:
                self.n_truncated[name] += 1
            self._list.add(name, skipped.item_id, skipped.outcome, skipped.reason)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write the list to the store when the context ends, even with an error."""
        try:
            yield
        except BaseException as first:
            try:
                self._list.record()
            except (EmbstoreError, OSError) as second:  # must not replace the first error
                first.add_note(str(second))
            raise
        self._list.record()


class Counts:
    """What the job of one checkpoint does, or would do."""

    def __init__(self, job: Job, skips: Skips) -> None:
        self.job, self.skips = job, skips
        self.spaces = [space.card.space for space in job.spaces]  # their names
        self.embedded: dict[str, int] = {}
        self.n_tokens = self.n_forward_passes = self.n_bytes = (
            0  # bytes of the shards and indexes written
        )
        self.seconds = 0.0  # of encoding, writing and indexing

    def reports(self) -> list[SpaceReport]:
        """Return the result for each space."""
        return [
            SpaceReport(
                space.card.space,
                space.card.model,
                self.embedded.get(space.card.space, 0),
                space.n_present,
                self.skips.reasons[space.card.space],
                self.skips.n_truncated[space.card.space],
                space.n_elsewhere,
            )
            for space in self.job.spaces
        ]


class Run(Counts):
    """Runs the job of one checkpoint."""

    def __init__(self, store: StoreWriter, job: Job, item_texts: StoredTexts, skips: Skips) -> None:
        super().__init__(job, skips)
        self._store, self._item_texts = store, item_texts
        self.model: Model = job.model
        self.notes: list[str] = []
        self.n_first = self.n_encoded = 0  # items; of them that are the first token of the input
        self.lost: list[Item] = []  # over which workers of a cluster died again and again
        # Space name → ids and numbers of tokens of its new items, both (n,), in parts.
        self.lengths: dict[str, list[TokenCounts]] = {space: [] for space in self.spaces}

    def encode(self) -> None:
        """Encode the missing items in this process; a range is written as shards while the next one
        is encoded.
        """
        for group in self.job.groups:
            with self.timed(), self.explained():
                self._encode(group)

    def _encode(self, group: Group) -> None:
        meter = Meter(self.model.label, group.work.n_items)
        encoder = self.model.encoder  # loads the weights
        writers: dict[str, SpaceWriter] = {}
        try:
            with ExitStack() as stack:
                for card in group.cards:
                    writers[card.space] = stack.enter_context(
                        self._store.space_writer(card, self._item_texts.missing)
                    )
                for step in encode_ranges(
                    range_tasks(group, self.job.options), encoder, [*writers.values()]
                ):
                    self.record(step, group, meter)
        finally:
            for name, writer in writers.items():
                self.embedded[name] = writer.n_written
                self.n_bytes += writer.n_bytes

    def commit(self, group: Group, outcome: RangeOutcome) -> None:
        """Commit the batches of a range that a worker of a cluster has encoded."""
        task, result = outcome.task, outcome.result
        if isinstance(result, Exception):
            raise result
        if result is None:
            self.lost += [item for window in task.windows for item in window.items()]
            return
        self._store.commit([(batch, self._item_texts.missing) for batch in result.batches])
        for batch in result.batches:
            space = batch.card.space
            self.embedded[space] = self.embedded.get(space, 0) + len(batch.item_ids)
            self.n_bytes += batch.n_bytes

    def check_lost(self) -> None:
        """Raise EncodeError, with the texts, if workers died again and again over some."""
        if not self.lost:
            return
        places = [self.job.missing.staging.find(item.id)[1] for item in self.lost[:N_LISTED]]
        listed = "; ".join(
            f"{item.shown[:100]!r} ({place})"
            for item, place in zip(self.lost, places, strict=False)
        )
        more = f"; and {len(self.lost) - N_LISTED:,} more" if len(self.lost) > N_LISTED else ""
        raise EncodeError(
            f"every worker died that encoded {count(len(self.lost), 'text')} with the checkpoint "
            f"{self.model.label!r}: "
            f"{listed}{more}. All others are embedded. If memory is short, lower `batch_tokens`; "
            "else leave out what "
            "ends the process, and run the same command again."
        )

    def record(self, step: Step, group: Group, meter: Meter) -> None:
        """Count what became of some items of a group of spaces, and report it."""
        self.n_tokens += step.n_tokens
        if step.skipped is not None:
            self.skips.add(step.skipped, step.spaces)
        if (lengths := step.lengths) is not None:
            self.n_forward_passes += 1
            self.n_encoded += len(lengths.ids)
            self.n_first += step.n_first
            for card, is_new in zip(group.cards, lengths.is_new, strict=True):
                self.lengths[card.space].append((lengths.ids[is_new], lengths.n_tokens[is_new]))
        meter.advance(step.n)

    def index(self) -> None:
        """Update the indexes of the job's spaces."""
        for space in self.job.spaces:
            with self.timed():
                indexes = update_indexes(self._store.files, space.card, self.job.options.index)
                self.n_bytes += sum(index.n_bytes for index in indexes)
                self.notes += recall_notes(space.card, indexes)

    def first_token_notes(self) -> list[str]:
        """Return a note if a causal model gave vectors of the first token of its input."""
        tokenizer = self.model.tokenizer
        if not (self.n_first and tokenizer.causal):
            return []
        before = "Put words before it, as in template='This is {text}'"
        if tokenizer.bos is not None:
            before = "Put the special token before it: template='{bos}{text}'"
        return [
            f"{self.model.label}: {self.n_first:,} of {count(self.n_encoded, 'item')} are the "
            "first token of the input, which this causal model reads with none before it. Trained "
            "models attend to this position and keep its states nearly constant and large, so "
            f"that such vectors tell little of their items. {before}."
        ]

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
        except (TooLongError, ModelFailsError, InvalidVectorError) as error:
            item, place = staging.find(error.item_id)
            which, more = "The first" if isinstance(error, ModelFailsError) else "The text", "."
            if isinstance(error, InvalidVectorError):
                folder = self.model.checkpoint.folder
                more = (
                    f", the checkpoint {self.model.label!r} ({folder}). What was written before is"
                    " whole."
                )
            raise EncodeError(f"{error} {which} is {item.shown[:200]!r} ({place}){more}") from error


def forget_token_counts(job: Job, files: StoreFiles) -> None:
    """Remove the numbers of tokens, and other such columns, of spaces that have no vectors: those
    of a space of the same name before.
    """
    if files.find_manifest() is None:
        return

    def change(base: Manifest) -> Change:
        names = [space.card.space for space in job.spaces]
        empty = [name for name in names if not base.layers_of(keys.VECTORS, name)]
        columns = [column for name in empty for column in space_columns(name)]
        return without_columns(files, base, columns)

    files.commit(change)


def store_places(job: Job, files: StoreFiles) -> None:
    """Store the columns of the tokens of a job, for each of its spaces: their positions, and
    whether they are special.
    """
    for space in job.spaces:
        places = job.missing.places(space.card.space, job.parts)
        ids, positions, special = map(to_numpy, places.columns)
        SpaceColumn(files, TOKEN_INDEX, space.card.space).write(ids, positions)
        SpaceColumn(files, IS_SPECIAL, space.card.space, "bool").write(ids, special.astype(bool))


def store_token_counts(job: Job, files: StoreFiles, encoded: dict[str, list[TokenCounts]]) -> None:
    """Store the number of tokens of each item of a job that has a vector, for each of its spaces.

    The tokens are those of the item itself, without special tokens, the template and the prompt.
    They are counted anew only for items that have a vector and no number: an earlier build was
    interrupted, or did not count them.
    """
    for space in job.spaces:
        column = SpaceColumn(files, N_TOKENS, space.card.space)
        present = job.missing.present([space.card.space], job.parts)
        uncounted = column.without_value(present)
        counts = [(np.empty(0, np.int64),) * 2, *encoded[space.card.space]]
        if len(uncounted):
            counts += _counted(job, space, uncounted)
        ids, n_tokens = map(np.concatenate, zip(*counts, strict=True))
        order = np.argsort(ids)
        column.write(ids[order], n_tokens[order])


def _counted(job: Job, space: SpacePlan, ids: Ids) -> list[TokenCounts]:
    """Count the tokens of some items, given by ascending ids (n,), as the model of a space reads
    them.
    """
    tokenizer = reader(job.model.tokenizer, [space.card.pooling], space.card.prompt)
    counts: list[TokenCounts] = []
    subject, n_done = f"the tokens of {space.card.space}", 0
    for batch in job.missing.staging.batches():
        batch_ids = np.array([item.id for item in batch], np.int64)
        is_chosen = ids[np.searchsorted(ids, batch_ids).clip(max=len(ids) - 1)] == batch_ids
        items = list(compress(batch, is_chosen.tolist()))
        passages = item_passages(items, job.model.tokenizer, job.options)
        for texts, _ in tokenizer.windows(passages, poolings=(), long="truncate"):
            counts += [
                (np.array(text.item_ids, np.int64), np.array(text.item_lengths, np.int64))
                for text in texts
            ]
        n_done += len(items)
        report_progress(Progress("read", subject, n_done, len(ids)))
    return counts


def encode_on_cluster(cluster: "Cluster", runs: Sequence[Run]) -> None:
    """Encode the missing items of all jobs, and commit their shards in this process."""
    pairs = [(run, group) for run in runs for group in run.job.groups]
    if not pairs:
        return
    labels = list(dict.fromkeys(run.model.label for run, _ in pairs))
    what = labels[0] if len(labels) == 1 else count(len(labels), "checkpoint")
    name = f"{what} on {count(cluster.n_workers, 'worker')}"
    meter = Meter(name, sum(group.work.n_items for _, group in pairs))
    report_progress(Progress("load", name))
    jobs = [(run.model, range_tasks(group, run.job.options)) for run, group in pairs]
    outcomes = cluster.encode(jobs)

    def take(outcome: RangeOutcome) -> None:
        run, group = pairs[outcome.job]
        with run.explained():
            # In another thread, which Ctrl-C does not interrupt.
            commit = committer.submit(run.commit, group, outcome)
            try:
                commit.result()
            except KeyboardInterrupt:
                commit.result()
                raise
            for step in outcome.result.steps if isinstance(outcome.result, RangeResult) else ():
                run.record(step, group, meter)

    with (
        pairs[0][0].timed(),
        ThreadPoolExecutor(1, thread_name_prefix="embstore-commit") as committer,
    ):
        committer.submit(
            int
        ).result()  # a thread that has started is waited for, whatever Ctrl-C interrupts
        try:
            for outcome in outcomes:
                take(outcome)
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt):  # raised after the last range that ends soon
                take(outcomes.throw(KeyboardInterrupt()))
                for outcome in outcomes:
                    take(outcome)
            raise
