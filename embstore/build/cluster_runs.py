"""Encode the jobs of a build on the workers of a cluster, side by side, and commit what they have written."""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from embstore.base.progress import Observer, Progress
from embstore.build.range_queue import RangeOutcome
from embstore.build.ranges import range_tasks
from embstore.build.report import Meter, count
from embstore.build.run import Run
from embstore.build.worker import RangeResult

if TYPE_CHECKING:
    from embstore.build.on_ray import Cluster


def encode_on_cluster(cluster: "Cluster", runs: Sequence[Run], observe: Observer) -> None:
    """Encode the missing items of all jobs, and commit their shards in this process.

    Args:
        cluster: Cluster that encodes them.
        runs: Jobs.
        observe: Callback for progress.
    """
    pairs = [(run, group) for run in runs for group in run.job.groups]
    if not pairs:
        return
    labels = list(dict.fromkeys(run.model.label for run, _ in pairs))
    what = labels[0] if len(labels) == 1 else count(len(labels), "checkpoint")
    name = f"{what} on {count(cluster.n_workers, 'worker')}"
    works = [group.work for _, group in pairs]
    meter = Meter(observe, name, sum(work.n_items for work in works), sum(work.size for work in works))
    observe(Progress("load", name))
    jobs = [(run.model, range_tasks(group, run.job.options)) for run, group in pairs]
    outcomes = cluster.encode(jobs, observe)

    def take(outcome: RangeOutcome) -> None:
        run, group = pairs[outcome.job]
        with run.explained():
            _complete(committer.submit(run.commit, group, outcome))
            for step in outcome.result.steps if isinstance(outcome.result, RangeResult) else ():
                run.record(step, group, meter)

    with pairs[0][0].timed(), ThreadPoolExecutor(1, thread_name_prefix="embstore-commit") as committer:
        committer.submit(int).result()  # a thread that has started is waited for, whatever Ctrl-C interrupts
        try:
            for outcome in outcomes:
                take(outcome)
        except KeyboardInterrupt:
            for outcome in _finished_soon(outcomes):
                take(outcome)
            raise


def _complete(commit: Future[None]) -> None:
    """Wait for a commit, which Ctrl-C does not interrupt, since it runs in another thread.

    Raises:
        EmbstoreError: The commit failed, or the worker could not encode the range.
        KeyboardInterrupt: Ctrl-C came, and the range is committed.
    """
    try:
        commit.result()
    except KeyboardInterrupt:
        commit.result()
        raise


def _finished_soon(outcomes: Generator[RangeOutcome]) -> Iterator[RangeOutcome]:
    """Yield the outcomes that a generator still yields after an interrupt."""
    try:
        yield outcomes.throw(KeyboardInterrupt())
        yield from outcomes
    except KeyboardInterrupt:
        return  # there are no others
