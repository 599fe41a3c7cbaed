"""Hand out the ranges of a build to the workers of a cluster, and take them back from workers that die."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from embstore.build.ranges import N_TRIES, LostRangesError, RangeTask
from embstore.build.worker import RangeResult, Requirement
from embstore.errors import ClusterError, EmbstoreError

IN_FLIGHT = 2
"""Number of ranges that a worker has at a time: one is encoded, the other one written or waiting."""


@dataclass(eq=False)
class ClusterWorker:
    """A worker of the cluster.

    Attributes:
        actor: Handle of its actor.
        running: Ranges that it was given.
        is_ready: Whether it has answered since it was started.
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
    """A range that is to be encoded, and the number of workers that died while they had it."""

    task: RangeTask
    n_deaths: int = 0


class RangeQueue:
    """Hands out ranges to workers.

    Args:
        ray: The library.
        workers: Workers.
        requirement: What the workers must have.
        tasks: Ranges.
    """

    def __init__(
        self, ray: Any, workers: list[ClusterWorker], requirement: Requirement, tasks: Iterator[RangeTask]
    ) -> None:
        self._ray, self._workers, self._tasks = ray, workers, tasks
        self._requirement = ray.put(requirement)
        self._again: deque[_Attempt] = deque()
        self._next: _Attempt | None = None
        self._calls: dict[Any, tuple[ClusterWorker, _Attempt | None]] = {}
        self._lost: list[RangeTask] = []

    def results(self) -> Iterator[tuple[RangeTask, RangeResult]]:
        """Yield each range with its result."""
        for worker in self._workers:
            self._check(worker)
        while self._hand_out():
            done, _ = self._ray.wait([*self._calls], timeout=1.0)
            for call in done:
                worker, attempt = self._calls.pop(call)
                if attempt is not None:
                    worker.running.remove(attempt)
                outcome = self._outcome(call, worker, attempt)
                if isinstance(outcome, EmbstoreError):
                    raise outcome
                if attempt is not None and isinstance(outcome, RangeResult):
                    yield attempt.task, outcome
        if self._lost:
            raise LostRangesError(self._lost)

    def _hand_out(self) -> bool:
        """Give ranges to the workers that accept them; return whether any is still to be waited for."""
        for worker in self._workers:
            while (attempt := self._first()) is not None and worker.accepts(attempt):
                self._take()
                call = worker.actor.encode.remote(attempt.task, self._requirement)
                worker.running.append(attempt)
                self._calls[call] = (worker, attempt)
        return self._first() is not None or any(worker.running for worker in self._workers)

    def _first(self) -> _Attempt | None:
        """Return the range to hand out next; None if there is none left."""
        if self._again:
            return self._again[0]
        while self._next is None and (task := next(self._tasks, None)) is not None:
            if windows := tuple(task.windows):
                self._next = _Attempt(replace(task, windows=windows))
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
            self._died(worker, attempt)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
            self._died(worker, attempt)
        except errors.RayError as error:
            return ClusterError(f"a worker of the cluster failed: {last_line(error)}.")
        else:
            if attempt is not None:
                return result  # type: ignore[no-any-return]
            worker.is_ready = True
            return None if result is None else ClusterError(result)
        return None

    def _died(self, worker: ClusterWorker, attempt: _Attempt | None) -> None:
        """Wait for a worker to be started again, and put its range back, or give it up."""
        if worker.is_ready or attempt is None:
            worker.is_ready = False
            self._check(worker)
        if attempt is None:
            return
        attempt.n_deaths += 1
        if attempt.n_deaths < N_TRIES:
            self._again.append(attempt)
        else:
            self._lost.append(attempt.task)

    def _check(self, worker: ClusterWorker) -> None:
        """Ask a worker whether it can take part; Ray repeats the question while the worker is being started."""
        call = worker.actor.problem.options(max_task_retries=-1).remote(self._requirement)
        self._calls[call] = (worker, None)


def last_line(error: Exception) -> str:
    """Return the last line of an error of Ray, which follows the trace of the worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
