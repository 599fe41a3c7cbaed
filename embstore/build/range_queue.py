"""Hand out the ranges of a build to the workers of a cluster, and take them back from workers that die.

Ray finds out which workers and nodes have died, and starts the workers again. It would repeat a call on the same worker
only, which may wait for a free node; so ranges are given to another one here.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from embstore.base.errors import ClusterError, EmbstoreError
from embstore.base.progress import Observer, Progress
from embstore.build.ranges import RangeTask
from embstore.build.report import count
from embstore.build.worker import RangeResult, Requirement

IN_FLIGHT = 2
"""Number of ranges that a worker has at a time: one is encoded, the other one written or waiting."""
N_TRIES = 3
"""Number of workers that may die over a range before it is divided."""
_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the queue waits.

    Attributes:
        start_seconds: Time until it is said that no worker has started.
        interrupt_seconds: Time after Ctrl-C for the ranges that are being encoded.
    """

    start_seconds: float = 15.0
    interrupt_seconds: float = 30.0


class RangeJob(NamedTuple):
    """Ranges of one checkpoint: what their workers must have, and the ranges, read as workers become free."""

    requirement: Requirement
    tasks: Iterator[RangeTask]


class RangeOutcome(NamedTuple):
    """What became of a range.

    Attributes:
        job: Position of its job.
        task: The range, or a part of it.
        result: Its result, the error that ends the build, or None if workers died again and again over its only item.
    """

    job: int
    task: RangeTask
    result: RangeResult | EmbstoreError | None


@dataclass(eq=False)
class ClusterWorker:
    """A worker of the cluster.

    Attributes:
        actor: Handle of its actor.
        running: Ranges that it was given.
        is_ready: Whether it can be given ranges: it has said since it was started that it can take part.
    """

    actor: Any
    running: "list[_Attempt]" = field(default_factory=list)
    is_ready: bool = False

    def accepts(self, attempt: "_Attempt") -> bool:
        """Return whether to give it a range now: one over which a worker died gets a worker of its own."""
        if not self.is_ready or any(other.n_deaths for other in self.running):
            return False
        return len(self.running) < (1 if attempt.n_deaths else IN_FLIGHT)


@dataclass(eq=False)
class _Attempt:
    """A range that is to be encoded, the position of its job, and the number of workers that died while they had it."""

    job: int
    task: RangeTask
    n_deaths: int = 0

    def parts(self) -> "list[_Attempt]":
        """Return both halves, each to be tried once, or a single item twice, since another fault may kill a worker."""
        return [
            _Attempt(self.job, half, N_TRIES - (2 if half.n_items == 1 else 1)) for half in self.task.halves()
        ]  # fmt: skip


class RangeQueue:
    """Hands out ranges to workers, those of the next job as soon as all of the one before are given.

    Args:
        ray: The library.
        workers: Workers.
        jobs: Ranges of each checkpoint.
        observe: Callback for progress, which is told what is waited for.
        patience: How long to wait.
    """

    def __init__(
        self,
        ray: Any,
        workers: list[ClusterWorker],
        jobs: Sequence[RangeJob],
        observe: Observer,
        patience: Patience | None = None,
    ) -> None:
        self._ray, self._workers, self._observe = ray, workers, observe
        self._patience = patience or Patience()
        self._requirements = [ray.put(job.requirement) for job in jobs]
        self._new = (_Attempt(at, task) for at, job in enumerate(jobs) for task in job.tasks)
        self._again: deque[_Attempt] = deque()
        self._next: _Attempt | None = None
        self._calls: dict[Any, tuple[ClusterWorker, _Attempt | None]] = {}

    def outcomes(self) -> Iterator[RangeOutcome]:
        """Yield what becomes of each range, in any order.

        After Ctrl-C no range is handed out any more, and those that end soon are yielded before KeyboardInterrupt.

        Raises:
            ClusterError: A worker cannot take part.
        """
        began = time.monotonic()
        for worker in self._workers:
            self._check(worker)
        try:
            while self._hand_out():
                yield from self._finished()
                began = self._say_that_none_has_started(began)
        except KeyboardInterrupt:
            yield from self._finish_soon()
            raise

    def _finish_soon(self) -> Iterator[RangeOutcome]:
        """Yield the ranges that end within the time after Ctrl-C."""
        seconds = self._patience.interrupt_seconds
        ends, n_before = time.monotonic() + seconds, 0
        while (n := sum(attempt is not None for _, attempt in self._calls.values())) and time.monotonic() < ends:
            if n != n_before:
                what = f"{count(n, 'range')} of texts, for up to {seconds:g} s (Ctrl-C again ends at once)"
                self._observe(Progress("finish", what))
            n_before = n
            yield from self._finished()

    def _finished(self) -> Iterator[RangeOutcome]:
        """Wait a moment for calls to end; yield the ranges that have."""
        done, _ = self._ray.wait([*self._calls], timeout=_SECONDS_BETWEEN_LOOKS)
        for call in done:
            worker, attempt = self._calls.pop(call)
            try:
                outcome = self._outcome(call, worker, attempt)
            except KeyboardInterrupt:  # it is looked at again after the interrupt
                self._calls[call] = worker, attempt
                raise
            if attempt is not None:
                worker.running.remove(attempt)
            if attempt is None:
                if isinstance(outcome, EmbstoreError):
                    raise outcome
            elif outcome is None:
                yield from self._after_death(attempt)
            else:
                yield RangeOutcome(attempt.job, attempt.task, outcome)

    def _hand_out(self) -> bool:
        """Give ranges to the workers that accept them; return whether any is still to be waited for."""
        for worker in self._workers:
            while (attempt := self._first()) is not None and worker.accepts(attempt):
                self._take()
                call = worker.actor.encode.remote(attempt.task, self._requirements[attempt.job])
                worker.running.append(attempt)
                self._calls[call] = (worker, attempt)
        return self._first() is not None or any(worker.running for worker in self._workers)

    def _first(self) -> _Attempt | None:
        """Return the range to hand out next; None if there is none left."""
        if self._again:
            return self._again[0]
        while self._next is None and (attempt := next(self._new, None)) is not None:
            if windows := tuple(attempt.task.windows):
                self._next = _Attempt(attempt.job, replace(attempt.task, windows=windows))
        return self._next

    def _take(self) -> None:
        if self._again:
            self._again.popleft()
        else:
            self._next = None

    def _outcome(
        self, call: Any, worker: ClusterWorker, attempt: _Attempt | None
    ) -> RangeResult | EmbstoreError | None:
        """Return the result of a call, or the error that ends the build; None if there is neither."""
        errors = self._ray.exceptions
        try:
            result = self._ray.get(call)
        except errors.ActorDiedError as error:
            if attempt is None:  # it is not started again
                return ClusterError(f"a worker of the cluster cannot be started: {last_line(error)}.")
            self._died(worker)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
            self._died(worker)
        except errors.RayError as error:
            return ClusterError(f"a worker of the cluster failed: {last_line(error)}.")
        else:
            if attempt is not None:
                return result  # type: ignore[no-any-return]
            worker.is_ready = True
            return None if result is None else ClusterError(result)
        return None

    def _died(self, worker: ClusterWorker) -> None:
        """Wait for a worker to be started again, unless it is waited for already."""
        if not any(other is worker and attempt is None for other, attempt in self._calls.values()):
            worker.is_ready = False
            self._check(worker)

    def _after_death(self, attempt: _Attempt) -> Iterator[RangeOutcome]:
        """Put back a range over which a worker died, in halves after some tries, or give up its only item."""
        attempt.n_deaths += 1
        if attempt.n_deaths < N_TRIES:
            self._again.append(attempt)
        elif attempt.task.n_items > 1:
            self._again.extend(attempt.parts())
        else:
            yield RangeOutcome(attempt.job, attempt.task, None)

    def _check(self, worker: ClusterWorker) -> None:
        """Ask a worker whether it can take part; Ray repeats the question while the worker is being started."""
        call = worker.actor.problem.options(max_task_retries=-1).remote(self._requirements[0])
        self._calls[call] = (worker, None)

    def _say_that_none_has_started(self, began: float) -> float:
        """Say what is waited for while no worker has started; return the time from which that is counted on."""
        now = time.monotonic()
        if any(worker.is_ready for worker in self._workers):
            return now
        if now - began > self._patience.start_seconds:
            self._observe(Progress("wait", f"{count(len(self._workers), 'worker')}: see `ray status` for what is free"))
            return now
        return began


def last_line(error: Exception) -> str:
    """Return the last line of an error of Ray, which follows the trace of the worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
