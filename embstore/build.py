"""Build a store: plan → encode → write → index. This page is the whole pipeline."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.encode import Encoded, Skipped
from embstore.errors import EncodeError, UsageError
from embstore.job import Job, Model, Options, SpacePlan, plan_job
from embstore.report import BuildReport, Progress, SpaceReport
from embstore.storage.catalog import Catalog
from embstore.storage.shards import Float16OverflowError, NonFiniteVectorError
from embstore.storage.tables import SkippedText, write_dataset, write_skipped
from embstore.storage.vectors import LayerVectors
from embstore.storage.writer import SpaceWriter, StoreWriter
from embstore.texts import Texts

if TYPE_CHECKING:
    from embstore.storage.card import Card
    from embstore.text import Item

Observer = Callable[[Progress], None]
_SAMPLE_PASSAGES = 256


def build(store: StoreWriter, texts: Texts, models: Sequence[str], options: Options, observe: Observer) -> BuildReport:
    """Embed what the store lacks of the texts, and index it.

    Args:
        store: the open writer.
        texts: what to embed.
        models: the checkpoints, as :func:`embstore.encode.resolve` reads them.
        options: how.
        observe: told how far the build is.

    Raises:
        EmbstoreError: see :mod:`embstore.errors`. What was committed before stays, and a later build goes on from it.
    """
    began = time.perf_counter()
    jobs = plan_jobs(store.paths.root, texts, models, options, observe)
    for rows in texts.datasets:
        write_dataset(store.paths, rows.name, rows.item_ids, rows.values)
    runs = [Run(store, job, texts, observe) for job in jobs]
    skipped = [_blank(blank.origin, blank.reason) for blank in texts.blanks]
    try:
        for run in runs:
            run.encode()
    finally:
        _record_skipped(store, skipped + [text for run in runs for text in run.skipped])
    encoded = time.perf_counter()
    for run in runs:
        run.index()
    return BuildReport(
        store=store.paths.root,
        spaces=tuple(report for run in runs for report in run.reports()),
        n_texts=texts.n_rows,
        n_items=len(texts.items),
        blanks=Counter(blank.reason for blank in texts.blanks),
        n_tokens=sum(run.n_tokens for run in runs),
        n_forward_passes=sum(run.n_forward_passes for run in runs),
        n_bytes=sum(run.n_bytes for run in runs),
        encode_seconds=sum(run.encode_seconds for run in runs) + time.perf_counter() - encoded,
        total_seconds=time.perf_counter() - began,
    )


def plan_jobs(
    root: Path, texts: Texts, models: Sequence[str], options: Options, observe: Observer = lambda _: None
) -> list[Job]:
    """Plan the work of each checkpoint against what the store at ``root`` has; a store that is not there has nothing."""
    if options.name is not None and len(models) > 1:
        raise UsageError(f"--name names one space, and {len(models)} models make {len(models)}. Build them one by one.")
    catalog = Catalog(root) if (root / "store.json").exists() else None
    cards: Mapping[str, Card] = catalog.cards if catalog else {}
    jobs = []
    for spec in dict.fromkeys(models):
        model = Model(spec, options)
        model.loading = lambda name=model.checkpoint.name: observe(Progress("load", name))  # type: ignore[misc]
        stored_ids = catalog.ids if catalog else lambda _: np.empty(0, np.int64)
        jobs.append(plan_job(model, options, list(texts.items), cards, stored_ids))
    names = [space.card.space for job in jobs for space in job.spaces]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"two of the models make the same space, {twice[0]!r}. Rename one: --model NAME=FOLDER.")
    return jobs


def estimate(root: Path, texts: Texts, models: Sequence[str], options: Options, observe: Observer) -> BuildReport:
    """Report what a build would do, and write nothing. Times are scaled up from a sample of the passages."""
    began = time.perf_counter()
    spaces: list[SpaceReport] = []
    n_tokens = n_forward_passes = n_bytes = 0
    seconds = 0.0
    for job in plan_jobs(root, texts, models, options, observe):
        reasons: Counter[str] = Counter()
        n_embedded, n_truncated = 0, 0
        if len(job.missing):
            plan = job.model.encoder.plan(
                job.passages(texts.items),
                poolings=job.poolings,
                batch_tokens=options.batch_tokens,
                long=options.long,
            )
            reasons.update(_kind(one.reason) for one in plan.skipped if one.outcome == "skipped")
            n_truncated = sum(one.outcome == "truncated" for one in plan.skipped)
            n_tokens, n_forward_passes = n_tokens + plan.n_tokens, n_forward_passes + plan.n_batches
            n_embedded = plan.n_items
            seconds += plan.n_tokens * _seconds_per_token(job, texts) if plan.n_tokens else 0.0
        for space in job.spaces:
            card, n_new = space.card, min(n_embedded, len(space.missing))
            copies = 1 if options.index == "none" else 2
            size = 2 if card.dtype == "float16" else 4
            n_bytes += n_new * len(card.layers) * card.dim * (size + (copies - 1) * 4)
            spaces.append(SpaceReport(card.space, card.model, n_new, space.n_present, reasons, n_truncated))
    return BuildReport(
        root, tuple(spaces), texts.n_rows, len(texts.items), Counter(blank.reason for blank in texts.blanks),
        n_tokens, n_forward_passes, n_bytes, seconds, time.perf_counter() - began, dry_run=True,
    )  # fmt: skip


def _seconds_per_token(job: Job, texts: Texts) -> float:
    """Measure the encoder on passages spread over the job, after one batch to warm up."""
    passages = list(job.passages(texts.items))
    sample = passages[:: max(1, len(passages) // _SAMPLE_PASSAGES)]
    marks: list[tuple[float, int]] = []
    for result in job.model.encoder.encode(
        sample,
        poolings=job.poolings,
        layers=job.layers,
        batch_tokens=job.options.batch_tokens,
        long=job.options.long,
    ):
        if isinstance(result, Encoded):
            marks.append((time.perf_counter(), result.n_tokens))
    if len(marks) < 2:
        return 0.0
    return (marks[-1][0] - marks[0][0]) / sum(tokens for _, tokens in marks[1:])


class Run:
    """One checkpoint's part of a build, as it runs."""

    def __init__(self, store: StoreWriter, job: Job, texts: Texts, observe: Observer) -> None:
        self._store, self._job, self._texts, self._observe = store, job, texts, observe
        self._written: dict[str, int] = {}
        self._reasons: dict[str, Counter[str]] = {space.card.space: Counter() for space in job.spaces}
        self._truncated: Counter[str] = Counter()
        self.skipped: list[SkippedText] = []
        self.n_tokens = self.n_forward_passes = self.n_bytes = 0
        self.encode_seconds = 0.0

    def encode(self) -> None:
        """Encode the missing items, and write them shard by shard."""
        for space in self._job.spaces:
            self._store.add_space(space.card)
        total = len(self._job.missing)
        if not total:
            return
        job, options = self._job, self._job.options
        passages = job.passages(self._texts.items)
        needed = [space for space in job.spaces if len(space.missing)]
        began = time.perf_counter()
        done = 0
        try:
            with ExitStack() as stack:
                writers = {
                    space.card.space: stack.enter_context(self._store.space_writer(space.card, self._texts.items))
                    for space in needed
                }
                stream = job.model.encoder.encode(
                    passages, poolings=job.poolings, layers=job.layers,
                    batch_tokens=options.batch_tokens, long=options.long,
                )  # fmt: skip
                for result in stream:
                    if isinstance(result, Skipped):
                        done += result.outcome == "skipped"
                        self._skip(result, needed)
                    else:
                        done += len(result.item_ids)
                        self.n_tokens += result.n_tokens
                        self.n_forward_passes += 1
                        _write(result, needed, writers)
                    self._observe(Progress("encode", job.model.checkpoint.name, done, total, self.n_tokens))
        except (NonFiniteVectorError, Float16OverflowError) as error:
            raise self._with_text(error) from error
        finally:
            self.encode_seconds = time.perf_counter() - began
        for name, writer in writers.items():
            self._written[name] = writer.n_written
            self.n_bytes += sum(shard.path.stat().st_size for shard in writer.shards)

    def index(self) -> None:
        """Build the index of each layer that is behind, or remove the indexes where none are wanted."""
        for space in self._job.spaces:
            card = space.card
            shards = self._store.paths.shards(card.space)
            if self._job.options.index == "none":
                index.remove_indexes(self._store.paths.indexes(card.space))
                continue
            names = [shard.name for shard in shards]
            for number, layer in enumerate(card.layers, 1):
                path = self._store.paths.index(card.space, layer)
                stored = index.IndexCard.read(path)
                if shards and not (stored is not None and stored.covers(names)):
                    vectors = LayerVectors(shards, layer.id, card.dim)
                    index.write_index(
                        path, vectors.map_with_ids(lambda ids, block: (ids, block)),
                        space=card.space, layer=layer.id, dim=card.dim, shards=names,
                    )  # fmt: skip
                    self.n_bytes += path.stat().st_size
                self._observe(Progress("index", card.space, number, len(card.layers), self.n_tokens))

    def reports(self) -> list[SpaceReport]:
        """Return what was done for each space."""
        return [
            SpaceReport(
                space.card.space, space.card.model, self._written.get(space.card.space, 0), space.n_present,
                self._reasons[space.card.space], self._truncated[space.card.space],
            )
            for space in self._job.spaces
        ]  # fmt: skip

    def _skip(self, result: Skipped, spaces: Sequence[SpacePlan]) -> None:
        item = self._texts.items[result.item_id]
        for space in spaces:
            if not _among(space.missing, np.array([item.id]))[0]:
                continue
            if result.outcome == "skipped":
                self._reasons[space.card.space][_kind(result.reason)] += 1
            else:
                self._truncated[space.card.space] += 1
            self.skipped.append(
                SkippedText(
                    item.text,
                    result.outcome,
                    result.reason,
                    space.card.space,
                    item.id,
                    self._texts.origins[item.id],
                )
            )

    def _with_text(self, error: NonFiniteVectorError | Float16OverflowError) -> EncodeError:
        item: Item = self._texts.items[error.item_id]
        return EncodeError(f"{error} The text is {item.shown[:200]!r} ({self._texts.origins[item.id]}).")


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


def _kind(reason: str) -> str:
    """Return a reason without what differs from text to text, to count by."""
    return "longer than the context" if "the context of" in reason else reason


def _blank(origin: str, reason: str) -> SkippedText:
    return SkippedText("", "skipped", reason, origin=origin)


def _record_skipped(store: StoreWriter, skipped: Sequence[SkippedText]) -> None:
    """Write what was skipped, except what an earlier build wrote already."""
    if not skipped:
        return
    known = {tuple(row) for row in Catalog(store.paths.root).skipped()}
    new = [one for one in skipped if one.key not in known]
    write_skipped(store.paths, new)
