"""What a build would do, and how long it would take: ``--dry-run``. Nothing is written."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from embstore.encode import Encoded, Plan
from embstore.job import Job, Options, SpacePlan
from embstore.plan import load_models, open_catalog, plan_build
from embstore.report import BuildReport, Observer, SpaceReport
from embstore.skips import kind_of
from embstore.text import Passage
from embstore.texts import Texts

_SAMPLE_PASSES = 8
_SAMPLE_SECONDS = 5.0
_ROW_BYTES = 12  # layer and item id in Parquet; in an index 8 for the id
_ID_BYTES = 8
_BYTES_PER_SECOND = 2e8  # written and indexed: measured on 2 cores and a disk of the cloud
_NOTHING = Plan(0, 0, 0, 0, ())


def estimate(
    root: Path, texts: Sequence[Texts], specs: Sequence[str], options: Options, observe: Observer
) -> BuildReport:
    """Report what a build would do.

    Texts, tokens and forward passes are counted, bytes computed. The time of encoding is measured on passages spread
    over the work, after some to warm up, and scaled by tokens; that of writing and indexing is a rate.

    Args:
        root: the store's folder, which need not exist.
        texts: what would be embedded, a part for each unit.
        specs: the checkpoints, as :func:`embstore.encode.resolve` reads them.
        options: how.
        observe: told when the weights are loaded.
    """
    began = time.perf_counter()
    spaces: list[SpaceReport] = []
    n_tokens = n_forward_passes = n_bytes = 0
    seconds = 0.0
    parts = plan_build(open_catalog(root), texts, load_models(specs, options, observe), options)
    for part, job in ((part, job) for part, jobs in parts for job in jobs):
        items = job.missing_items(part.items)
        passages = list(job.passages(items)) if items else []  # what needs no weights loads none
        plans = {}
        for group in job.groups:
            plan = job.count(passages, group)
            plans.update({space.card.space: plan for space in group})
            n_tokens += plan.n_tokens
            n_forward_passes += plan.n_batches
            if plan.n_tokens:
                seconds += plan.n_tokens * _seconds_per_token(job, group, passages, plan.n_batches)
        for space in job.spaces:
            report = _space_report(space, plans.get(space.card.space, _NOTHING))
            spaces.append(report)
            n_bytes += report.embedded * _bytes_of_item(space, options)
    return BuildReport(
        store=root.resolve(), spaces=tuple(spaces), n_texts=sum(part.n_texts for part in texts),
        n_items=sum(len(part.items) for part in texts),
        blanks=Counter(blank.reason for part in texts for blank in part.blanks), n_tokens=n_tokens,
        n_forward_passes=n_forward_passes, n_bytes=n_bytes, encode_seconds=seconds + n_bytes / _BYTES_PER_SECOND,
        total_seconds=time.perf_counter() - began, dry_run=True,
    )  # fmt: skip


def _space_report(space: SpacePlan, plan: Plan) -> SpaceReport:
    reasons = Counter(map(kind_of, space.unfit.values()))
    here = [one for one in plan.skipped if space.lacks(one.item_id)]
    reasons.update(kind_of(one.reason) for one in here if one.outcome == "skipped")
    n_skipped = sum(one.outcome == "skipped" for one in here)
    card = space.card
    return SpaceReport(
        card.space, card.model, len(space.missing) - n_skipped, space.n_present, reasons, len(here) - n_skipped
    )


def _bytes_of_item(space: SpacePlan, options: Options) -> int:
    card = space.card
    in_shard = card.dim * (2 if card.dtype == "float16" else 4) + _ROW_BYTES
    in_index = 0 if options.index == "none" else card.dim * 4 + _ID_BYTES
    return len(card.layers) * (in_shard + in_index)


def _seconds_per_token(job: Job, group: list[SpacePlan], passages: Sequence[Passage], n_batches: int) -> float:
    step = max(1, n_batches // _SAMPLE_PASSES)
    sample = passages[::step]
    _measure(job, group, sample[: max(1, len(sample) // _SAMPLE_PASSES)])
    seconds, n_tokens = _measure(job, group, sample)
    return seconds / n_tokens if n_tokens else 0.0


def _measure(job: Job, group: list[SpacePlan], passages: Sequence[Passage]) -> tuple[float, int]:
    began = time.perf_counter()
    n_tokens = 0
    for result in job.encode(passages, group):
        if isinstance(result, Encoded):
            n_tokens += result.n_tokens
        if time.perf_counter() - began > _SAMPLE_SECONDS and n_tokens:
            break
    return time.perf_counter() - began, n_tokens
