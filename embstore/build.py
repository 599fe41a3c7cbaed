"""Build a store: plan → encode → write → index. This page is the whole pipeline."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from embstore.job import Options
from embstore.plan import load_models, open_catalog, plan_build
from embstore.report import BuildReport, Observer
from embstore.run import Run
from embstore.skips import Skips
from embstore.storage.catalog import Catalog
from embstore.storage.merged import write_all_merged
from embstore.storage.tables import write_dataset
from embstore.storage.writer import SHARD_BYTES, StoreWriter
from embstore.texts import Texts


def build(
    root: Path,
    texts: Sequence[Texts],
    specs: Sequence[str],
    options: Options,
    observe: Observer,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> BuildReport:
    """Embed what the store lacks of the texts, and index it.

    Args:
        root: the store's folder; made if it is empty or does not exist.
        texts: what to embed, a part for each unit.
        specs: the checkpoints, as :func:`embstore.encode.resolve` reads them.
        options: how; the unit is that of each part.
        observe: told how far the build is.
        shard_bytes: bytes of vectors in a shard.

    Raises:
        EmbstoreError: see :mod:`embstore.errors`. What was committed before stays, and a later build goes on from it.
    """
    began = time.perf_counter()
    models = load_models(specs, options, observe)
    if open_catalog(root) is None:
        plan_build(None, texts, models, options)  # a mistake in the call leaves no empty store behind
    with StoreWriter(root, shard_bytes=shard_bytes) as store:
        catalog = Catalog(root)
        runs: list[Run] = []
        with ExitStack() as recorded:
            for part, jobs in plan_build(catalog, texts, models, options):
                # Their vectors are there: it is their texts that may be lost.
                store.add_items(part.items[item] for job in jobs for item in job.held_ids(part.items))
                for rows in part.datasets:
                    write_dataset(store.paths, rows.name, rows.kind, part.unit, rows.columns)
                skips = Skips(part, [space for job in jobs for space in job.spaces])
                recorded.enter_context(skips.recorded(store.paths, catalog))
                runs += [Run(store, job, part, skips, observe) for job in jobs]
            for run in runs:
                run.encode()
        write_all_merged(store.paths)
        for run in runs:
            run.index()
    return BuildReport(
        store=store.paths.root,
        spaces=tuple(report for run in runs for report in run.reports()),
        n_texts=sum(part.n_texts for part in texts),
        n_items=sum(len(part.items) for part in texts),
        blanks=Counter(blank.reason for part in texts for blank in part.blanks),
        n_tokens=sum(run.n_tokens for run in runs),
        n_forward_passes=sum(run.n_forward_passes for run in runs),
        n_bytes=sum(run.n_bytes for run in runs),
        encode_seconds=sum(run.seconds for run in runs),
        total_seconds=time.perf_counter() - began,
    )
