"""Build a store: read → plan → encode → write → index.

Texts are staged in a temporary database as they are read; duplicates and stored items are found by SQL. The missing
items are divided by item id into parts of about a shard's bytes. A part is encoded while the previous one is written,
so that at most two parts and a window of texts are in memory. On a cluster, its workers do so with the parts that they
are given, and this process commits what they have written.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embstore.base.progress import Observer
from embstore.build.cluster_runs import encode_on_cluster
from embstore.build.job import Options
from embstore.build.plan import plan_build, resolve_models
from embstore.build.report import BuildReport
from embstore.build.run import Run
from embstore.build.skips import Skips
from embstore.build.texts import Sources, read_texts
from embstore.build.token_counts import forget_token_counts, store_token_counts
from embstore.index.updating import check_memory
from embstore.storage.catalog import Catalog
from embstore.storage.maintenance.space_summary import write_all_merged
from embstore.storage.staging.staging import Staging
from embstore.storage.staging.texts import StoredTexts
from embstore.storage.transaction.commit import write_dataset
from embstore.storage.writer import StoreWriter

if TYPE_CHECKING:
    from embstore.build.on_ray import Cluster
    from embstore.storage.staging.columns import StoredColumn


def build(
    root: Path,
    sources: Sequence[Sources],
    specs: Sequence[str],
    options: Options,
    observe: Observer,
    connect: Callable[[Path], "Cluster"] | None = None,
) -> BuildReport:
    """Embed the texts whose vectors are missing from the store, and index them.

    Args:
        root: Folder of the store; created if it is empty or does not exist.
        sources: Sources to embed, one entry per unit.
        specs: Checkpoints, in the notation of :func:`embstore.encode.resolve`.
        options: Options of the build; the unit is taken from ``sources``.
        observe: Callback for progress.
        connect: Function that connects to the cluster that encodes the texts, given the folder of the store; None to
            encode them in this process.

    Raises:
        EmbstoreError: Committed shards are kept, and the next build continues from them.
    """
    began = time.perf_counter()
    # The workers have the accelerators, and this process needs the model for the cards only.
    models = resolve_models(specs, options if connect is None else replace(options, device="cpu"), observe)
    with ExitStack() as stack:
        cluster = None if connect is None else stack.enter_context(connect(root))
        store = stack.enter_context(StoreWriter(root, options.worker))
        stagings = [stack.enter_context(Staging(store.paths.root, unit_sources.unit)) for unit_sources in sources]
        texts = [
            read_texts(unit_sources, staging, observe) for unit_sources, staging in zip(sources, stagings, strict=True)
        ]
        plan = plan_build(Catalog(root), texts, models, options)
        store.compare_plan([job.identity for _, jobs in plan for job in jobs])
        for job in (job for _, jobs in plan for job in jobs):
            for space in job.spaces:
                check_memory(store.paths, space.card, space.n_missing, options.index, options.index_memory)
        runs: list[Run] = []
        notes = [note for _, jobs in plan for job in jobs for note in job.notes]
        columns: list[StoredColumn] = []
        with ExitStack() as skip_lists:
            for part, jobs in plan:
                item_texts = StoredTexts(part.staging, store.paths)
                with store.writing_texts():
                    columns += part.columns.write(store.paths)
                    for job in jobs:
                        item_texts.write_missing_texts(job.present)  # the text of a stored vector may be missing
                        forget_token_counts(job, store.paths)
                for rows in part.datasets:
                    write_dataset(store.paths, rows.name, rows.kind, part.unit, rows.columns)
                skips = Skips(part, jobs, store.paths)
                skip_lists.enter_context(skips.recorded())
                runs += [Run(store, job, item_texts, skips, observe) for job in jobs]
            for model in models:  # so that its weights are loaded once for all units
                if cluster is None:
                    for run in runs:
                        if run.model is model:
                            run.encode()
                model.release()
            if cluster is not None:
                encode_on_cluster(cluster, runs, observe)
        with store.writing_texts():
            for run in runs:
                counted = store_token_counts(run.job, store.paths, run.lengths, observe)
                columns += counted if options.reports_tokens else []
        if store.is_last():
            notes += store.forget_missing_shards(run_space for run in runs for run_space in run.spaces)
            write_all_merged(store.paths)
            for run in runs:
                run.index()
        for run in runs:
            run.check_lost()
    return BuildReport(
        store=store.paths.root,
        spaces=tuple(report for run in runs for report in run.reports()),
        n_texts=sum(part.n_texts for part in texts),
        n_items=sum(part.staging.n_items for part in texts),
        blanks=sum((part.blanks for part in texts), start=Counter()),
        columns=tuple(columns),
        n_tokens=sum(run.n_tokens for run in runs),
        n_forward_passes=sum(run.n_forward_passes for run in runs),
        n_bytes=sum(run.n_bytes for run in runs),
        encode_seconds=sum(run.seconds for run in runs),
        total_seconds=time.perf_counter() - began,
        notes=(*(note for part in texts for note in part.notes), *(note for run in runs for note in run.notes), *notes),
    )
