"""Build a store: read → plan → encode → write → index.

Texts are staged in a temporary database as they are read; duplicates and stored items are found by
SQL. The missing items are divided by item id into parts of about a shard's bytes. A part is encoded
while the previous one is written, so that at most two parts and a window of texts are in memory. On
a cluster, its workers do so with the parts that they are given, and this process commits what they
have written.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from embstore.base.errors import SourceError, UsageError, shortened
from embstore.base.space import Unit
from embstore.base.text import Passage
from embstore.build.job import (
    N_LOADED,
    Group,
    Job,
    Model,
    Options,
    encode_windows,
    item_passages,
    open_catalog,
    plan_build,
    resolve_models,
    token_reader,
)
from embstore.build.report import BuildReport
from embstore.build.run import (
    Counts,
    Run,
    Skips,
    encode_on_cluster,
    forget_token_counts,
    store_places,
    store_token_counts,
)
from embstore.build.texts import Opened, Sources, Texts, read_texts
from embstore.encode.records import Encoded
from embstore.sources.datasets import find_dataset
from embstore.sources.rows import Blank, Row
from embstore.sources.source import Source
from embstore.storage.cache import StoreFiles
from embstore.storage.manifest import size_notes
from embstore.storage.staging.missing import StoredTexts
from embstore.storage.staging.staging import Staging, Window
from embstore.storage.writer import StoreWriter, write_dataset

if TYPE_CHECKING:
    from embstore.build.on_ray import Cluster
    from embstore.storage.staging.columns import StoredColumn


_SAMPLE_PASSES = 8
_SAMPLE_SECONDS = 5.0
_ID_BYTES = 8  # of a vector's item id in a shard, and in an index
_BYTES_PER_SECOND = 2e8  # of writing and indexing, measured on 2 cores and a cloud disk


def build(
    place: Path | StoreFiles,
    sources: Sequence[Sources],
    specs: Sequence[str],
    options: Options,
    connect: Callable[[StoreFiles], "Cluster"] | None = None,
) -> BuildReport:
    """Embed the texts whose vectors are missing from the store, and index them.

    Sources have one entry per unit, or one for all; ``connect`` connects to the cluster that
    encodes the texts, if there is one. After an error, committed shards are kept, and the next
    build continues from them.
    """
    began = time.perf_counter()
    grouped = [group for source in sources for group in by_unit(source)]
    # The workers have the accelerators, and this process needs the model for the cards only.
    models = resolve_models(specs, options if connect is None else replace(options, device="cpu"))
    runs: list[Run] = []
    columns: list[StoredColumn] = []
    with ExitStack() as stack:
        files = StoreFiles.of_folder(place)
        cluster = None if connect is None else stack.enter_context(connect(files))
        store = stack.enter_context(StoreWriter(files, is_shared=options.is_part))
        texts = _staged(stack, grouped, files.root, models, options)
        plan = plan_build(open_catalog(files), texts, models, options)
        with ExitStack() as skip_lists:
            for unit_texts, jobs in plan:
                columns += unit_texts.columns.write(files)
                skips = Skips(unit_texts, jobs, files)
                runs += _prepared(unit_texts, jobs, store, skips)
                skip_lists.enter_context(skips.recorded())
            _encode(runs, models, cluster)
        _complete(runs, store, options)
    notes = [note for run in runs for note in run.notes]
    notes += [*_plan_notes(plan), *size_notes(files.manifest())]
    report = _report(files, texts, columns, runs, notes, began)
    return replace(report, is_part=options.is_part)


def _prepared(texts: Texts, jobs: Sequence[Job], store: StoreWriter, skips: Skips) -> list[Run]:
    """Write what is known of the texts of a unit without their vectors; return the runs of its
    jobs.
    """
    files = store.files
    item_texts = StoredTexts(texts.staging, files)
    for job in jobs:
        if len(job.present):
            item_texts.write(job.present)  # the text of a stored vector may be missing
        forget_token_counts(job, files)
        if texts.unit is Unit.TOKEN:
            store_places(job, files)
    for rows in texts.datasets:
        write_dataset(files, rows.name, rows.kind, texts.unit, rows.columns)
    return [Run(store, job, item_texts, skips) for job in jobs]


def _encode(runs: Sequence[Run], models: Sequence[Model], cluster: "Cluster | None") -> None:
    """Encode the missing items of all jobs, here or on a cluster; the weights of a model are loaded
    once for all units.
    """
    for model in models:
        for run in runs:
            if cluster is None and run.model is model:
                run.encode()
        model.release()
    if cluster is not None:
        encode_on_cluster(cluster, runs)


def _complete(runs: Sequence[Run], store: StoreWriter, options: Options) -> None:
    """Store what follows from the vectors of all jobs: token counts, sums and indexes."""
    for run in runs:
        if run.job.options.unit is not Unit.TOKEN:  # of which each is one
            store_token_counts(run.job, store.files, run.lengths)
    store.complete_sums(space.card for run in runs for space in run.job.spaces)
    if not options.is_part:
        for run in runs:
            run.index()
    for run in runs:
        run.notes += run.first_token_notes()
        run.check_lost()


def _plan_notes(plan: Sequence[tuple[Texts, list[Job]]]) -> list[str]:
    return [note for _, jobs in plan for job in jobs for note in job.notes]


def _report(
    files: StoreFiles,
    texts: Sequence[Texts],
    columns: Sequence["StoredColumn"],
    counts: Sequence[Counts],
    notes: Sequence[str],
    began: float,
    *,
    dry_run: bool = False,
) -> BuildReport:
    """Return the report of a build, or of its estimate, which began at a time of the clock for
    intervals.
    """
    return BuildReport(
        store=files.place,
        n_texts=sum(part.n_texts for part in texts),
        n_items=sum(part.staging.n_items for part in texts),
        blanks=sum((part.blanks for part in texts), start=Counter()),
        columns=tuple(columns),
        spaces=tuple(space for job in counts for space in job.reports()),
        n_tokens=sum(job.n_tokens for job in counts),
        n_forward_passes=sum(job.n_forward_passes for job in counts),
        n_bytes=sum(job.n_bytes for job in counts),
        encode_seconds=sum(job.seconds for job in counts),
        total_seconds=time.perf_counter() - began,
        dry_run=dry_run,
        notes=(*(note for part in texts for note in part.notes), *notes),
    )


def _staged(
    stack: ExitStack,
    sources: Sequence[tuple[Unit, Sources]],
    folder: Path,
    models: Sequence[Model],
    options: Options,
) -> list[Texts]:
    """Read the sources of each unit, and stage their texts in a folder until the stack ends."""
    return [
        read_texts(
            unit_sources,
            stack.enter_context(Staging(folder, unit)),
            [token_reader(model, options) for model in models] if unit is Unit.TOKEN else (),
        )
        for unit, unit_sources in sources
    ]


def estimate(
    place: Path | StoreFiles, sources: Sequence[Sources], specs: Sequence[str], options: Options
) -> BuildReport:
    """Estimate the tokens, forward passes, bytes and seconds of a build without running it.

    Texts, tokens and forward passes are counted exactly, bytes computed. Encoding time is measured
    on a sample of passages spread over the work, after a warm-up, and scaled by tokens; for writing
    and indexing a fixed rate is used.
    """
    began = time.perf_counter()
    grouped = [group for source in sources for group in by_unit(source)]
    models = resolve_models(specs, options)
    files = StoreFiles.of_folder(place)
    catalog = open_catalog(files)
    with ExitStack() as stack:
        texts = _staged(stack, grouped, Path(gettempdir()), models, options)
        plan = plan_build(catalog, texts, models, options)
        columns = [column for part in texts for column in part.columns.write(files, dry_run=True)]
        counts = []
        for part, jobs in plan:
            skips = Skips(part, jobs, files)
            for job in jobs:
                counts.append(_estimated(Counts(job, skips)))
                if len(models) > N_LOADED:
                    job.model.release()
    return _report(files, texts, columns, counts, _plan_notes(plan), began, dry_run=True)


def _estimated(counts: Counts) -> Counts:
    """Count the tokens, passes and bytes of a job, and measure its encoding time on a sample."""
    job = counts.job
    for group in job.groups:
        n_tokens = n_batches = 0
        for window in group.work.windows():
            plan = job.model.encoder.plan(
                _passages(job, window),
                poolings=[card.pooling for card in group.cards],
                batch_tokens=job.options.batch_tokens,
                long=job.options.long_for(group.cards[0].pooling),
                prompt=group.cards[0].prompt,
            )
            n_tokens += plan.n_tokens
            n_batches += plan.n_batches
            missing_in = dict(zip(window.ids.tolist(), window.is_missing.T.tolist(), strict=True))
            for item in plan.skipped:
                is_missing = zip(group.cards, missing_in[item.item_id], strict=True)
                counts.skips.add(item, [card.space for card, missing in is_missing if missing])
        counts.n_tokens += n_tokens
        counts.n_forward_passes += n_batches
        if n_tokens:
            counts.seconds += n_tokens * _seconds_per_token(job, group, n_batches)
    for space in job.spaces:
        card = space.card
        embedded = space.n_missing + space.unfit.total() - counts.skips.reasons[card.space].total()
        has_index = job.options.index != "none" and not job.options.is_part
        index_bytes = card.dim * 2 + _ID_BYTES if has_index else 0
        n_bytes = embedded * len(card.layers) * (card.layer_bytes + _ID_BYTES + index_bytes)
        counts.embedded[card.space] = embedded
        counts.n_bytes += n_bytes
        counts.seconds += n_bytes / _BYTES_PER_SECOND
    return counts


def _passages(job: Job, window: Window) -> Iterator[Passage]:
    return item_passages(window.items(), job.model.tokenizer, job.options)


def _seconds_per_token(job: Job, group: Group, n_batches: int) -> float:
    """Measure the encoding time per token on about ``_SAMPLE_PASSES`` passes' worth of passages,
    after a warm-up.
    """
    step = max(1, n_batches // _SAMPLE_PASSES)
    passages = (passage for window in group.work.windows() for passage in _passages(job, window))
    sample = list(islice(passages, 0, None, step))
    _measure(job, group, sample[: max(1, len(sample) // _SAMPLE_PASSES)])
    seconds, n_tokens = _measure(job, group, sample)
    return seconds / n_tokens if n_tokens else 0.0


def _measure(job: Job, group: Group, passages: Sequence[Passage]) -> tuple[float, int]:
    """Encode passages, stopping after ``_SAMPLE_SECONDS``; return the seconds taken and the tokens
    encoded.
    """
    began = time.perf_counter()
    n_tokens = 0
    for result in encode_windows(job.model.encoder, [passages], group.cards, job.options):
        if isinstance(result, Encoded):
            n_tokens += result.n_tokens
        if time.perf_counter() - began > _SAMPLE_SECONDS and n_tokens:
            break
    return time.perf_counter() - began, n_tokens


MOST, FEW = 0.9, 0.1
"""Shares of texts with white space: from the first one on a source is of sentences, up to the
second one of words.
"""
_FIRST_TEXTS, _N_EXAMPLES = 1000, 2  # the first texts decide, and are in memory meanwhile
SPACE_BETWEEN = re.compile(r"\S\s+\S")


def by_unit(sources: Sources) -> list[tuple[Unit, Sources]]:
    """Open sources whose unit was not requested, and group them by unit, in the order in which the
    units come first.

    A dataset has a unit of its own. Of any other source the first texts decide: it is of sentences
    if at least 90 % of them have white space between words, of words if at most 10 % have, else it
    is refused; so it is at its end if the whole source shows something else.
    """
    if sources.unit is not None:
        return [(sources.unit, sources)]
    all_sources: list[tuple[Unit | None, Source]] = []
    for name in sources.names:
        dataset = find_dataset(name)
        unit = None if sources.targets is None else Unit.OCCURRENCE
        if dataset:
            unit = dataset.unit
        targets = sources.targets if unit is Unit.OCCURRENCE else None
        all_sources.append((unit, sources.open(name, targets)))
    if sources.given_texts is not None:
        unit = None if sources.given_texts.targets is None else Unit.OCCURRENCE
        all_sources.append((unit, sources.given_texts.open(sources.keep)))
    groups: dict[Unit, list[Opened]] = {}
    for known, source in all_sources:
        decided = (known, source.rows()) if known else _decided(source, sources.limit)
        groups.setdefault(decided[0], []).append((source, decided[1]))
    if sources.targets is not None and Unit.OCCURRENCE not in groups:
        raise UsageError(
            "`span` and `targets` are for files of sentences, and no source is one. Leave them out."
        )
    return [
        (
            unit,
            replace(
                sources, names=(), given_texts=None, targets=None, unit=unit, opened=tuple(opened)
            ),
        )
        for unit, opened in groups.items()
    ]


def _decided(source: Source, limit: int | None) -> tuple[Unit, Iterator[Row | Blank]]:
    """Return the unit that the first texts of a source show, and all its rows."""
    spacing, first = _Spacing(source, limit), []
    rows = spacing.counted(source.rows())
    for row in rows:
        first.append(row)
        if sum(spacing.counts) == _FIRST_TEXTS:
            break
    unit = spacing.decided = spacing.unit()
    remark = ""
    if unit is Unit.SENTENCE:
        n = sum(spacing.counts)
        texts = f"first {n:,} texts" if n == _FIRST_TEXTS else f"{n:,} texts"
        remark = (
            f"{source.name}: taken for sentences, since {spacing.counts[True]:,} of its {texts}, "
            "one in each line or "
            "row, have white space; for words or phrases, add unit='word'."
        )
    if source.file is None:  # standard input and iterables are read once
        source.remarks.extend([remark] if remark else [])
        return unit, chain(first, rows)
    rows.close()  # of many files not all can be open
    return unit, _Spacing(source, limit, unit).counted(source.rows(), remark)


class _Spacing:
    """Counts the texts of a source without and with white space between words, and keeps the first
    ones of each.
    """

    def __init__(self, source: Source, limit: int | None, decided: Unit | None = None) -> None:
        self._source, self._limit, self.decided, self.counts = source, limit, decided, [0, 0]
        self._examples: tuple[list[str], list[str]] = [], []

    def counted(self, rows: Iterable[Row | Blank], remark: str = "") -> Generator[Row | Blank]:
        """Yield rows, counting their texts; at their end or at the limit, raise UsageError as
        :meth:`unit` does.
        """
        for row in rows:
            if remark:
                self._source.remarks.append(remark)  # which were cleared at the first row
                remark = ""
            if isinstance(row, Row):
                if "\0" in row.text:
                    raise SourceError(
                        f"{row.origin}: the text has NUL characters, as binary files and texts in "
                        "UTF-16 have. Convert "
                        "it to UTF-8, as with iconv; if they belong to the text, say what it is "
                        "with `unit`."
                    )
                has_space = SPACE_BETWEEN.search(row.text) is not None
                self.counts[has_space] += 1
                if len(self._examples[has_space]) < _N_EXAMPLES:
                    self._examples[has_space].append(f"{shortened(row.text)!r} ({row.origin})")
                if sum(self.counts) == self._limit:
                    self.unit()
            yield row
        self.unit()

    def unit(self) -> Unit:
        """Return the unit that the texts show; raise UsageError if they show none, or another than
        was decided.
        """
        share = self.counts[True] / max(1, sum(self.counts))
        unit = Unit.SENTENCE if share >= MOST else Unit.WORD
        if FEW < share < MOST or unit is not (self.decided or unit):
            without, with_space = map(" and ".join, self._examples)
            raise UsageError(
                f"{self._source.name} may be of words or of sentences: {self.counts[True]:,} of "
                f"{sum(self.counts):,} "
                f"texts have white space, such as {with_space}; {self.counts[False]:,} have none, "
                f"such as {without}. "
                "Say what they are.\nAll words or phrases: unit='word'\nAll sentences, some "
                "of one word: "
                f"unit='sentence'\nBoth: build a file of each."
            )
        return unit
