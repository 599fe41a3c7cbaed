"""Encode the ranges of a build on a Ray cluster. The only module that imports ray.

This process hands out ranges and gets back the names of uncommitted shards. Ray runs a task at
least once, not exactly once: a worker that seemed dead may finish its range later. Nothing comes of
that, since only this process commits. Ray starts dead workers again, and would repeat a call on the
same worker only, which may wait for a free node: ranges are given to another one here.
"""

import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from embstore.base import disk
from embstore.base.errors import ClusterError, UsageError
from embstore.base.installation import needing
from embstore.base.messages import count
from embstore.base.progress import Progress, report_progress
from embstore.build.job import Model
from embstore.build.ranges import RangeResult, RangeTask, RangeWorker, Requirement
from embstore.storage.cache import StoreFiles

_STOP_SECONDS = 5.0
_RAY_TEXTS_BYTES = 512 << 20  # of a local instance's memory for the texts of ranges

IN_FLIGHT = 2
"""Number of ranges that a worker has at a time: one is encoded, the other one written or
waiting.
"""

N_TRIES = 3
"""Number of workers that may die over a range before it is divided."""

_SECONDS_BETWEEN_LOOKS = 1.0
START_SECONDS = 15.0  # until the queue says that no worker has started
INTERRUPT_SECONDS = 30.0  # for running ranges after Ctrl-C


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Options of a build on a cluster."""

    workers: int | None = None  # number of workers; None for as many as fit
    worker_gpus: float | None = None  # GPUs of each worker; None for one if the cluster has GPUs
    # CPU cores of each worker; None for one beside a GPU, else for all cores of the smallest node.
    worker_cpus: int | None = None
    # Address of the cluster as ``host:port`` or ``auto``; None for that in ``RAY_ADDRESS``, else
    # for a local instance.
    address: str | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("workers", self.workers, 1),
            ("worker-gpus", self.worker_gpus, 0),
            ("worker-cpus", self.worker_cpus, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"`{name}` must be at least {least}, not {value:g}.")


class RangeOutcome(NamedTuple):
    """What became of a range, or of a part of it, and the position of its job."""

    job: int
    task: RangeTask
    # An error ends the build; None if all died over its only item.
    result: RangeResult | Exception | None


class Cluster:
    """A connection to a Ray cluster, with the workers of a build; a context manager."""

    def __init__(self, options: ClusterOptions, files: StoreFiles) -> None:
        self._options, self._files = options, files
        self._workers: list[Any] = []
        self._stack = ExitStack()
        self.n_workers = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._ray = stack.enter_context(_connected(self._options.address))
            self.n_workers, self._resources = _shares(self._ray, self._options)
            stack.callback(self._stop_workers)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def encode(self, jobs: Sequence[tuple[Model, Iterator[RangeTask]]]) -> Generator[RangeOutcome]:
        """Start the workers, encode ranges on them, and yield what becomes of each, in any order;
        called once.
        """
        with self._files.temporary() as path:
            sign = (path, os.urandom(16)) if self._files.is_local else None
            if sign is not None:
                disk.write(*sign)
            # A worker without a GPU must not use one that its machine has.
            device = None if self._resources["num_gpus"] else "cpu"
            queued = [
                RangeJob(Requirement.of(model, self._files, sign), tasks) for model, tasks in jobs
            ]
            actor = self._ray.remote(RangeWorker).options(
                **self._resources,
                max_restarts=-1,
                max_task_retries=0,
                max_concurrency=IN_FLIGHT + 1,
                scheduling_strategy="SPREAD",
            )
            self._workers = [actor.remote(device) for _ in range(self.n_workers)]
            yield from RangeQueue(self._ray, self._workers, queued).outcomes()

    def _stop_workers(self) -> None:
        """End the workers, once the files that they are writing are complete."""
        stops = [worker.stop.remote() for worker in self._workers]
        try:
            if stops:
                self._ray.wait(stops, num_returns=len(stops), timeout=_STOP_SECONDS)
        finally:
            for worker in self._workers:
                self._ray.kill(worker)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster within the context, or start a local instance if there is no address;
    yield the library.

    A connection that the process already has is used, and kept.
    """
    # A local instance would report to Ray's developers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning about it
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        # Attempts to connect, 40 s each; Ray makes 20 of them.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    with needing("on='ray' needs Ray", "ray"):
        import ray
    if ray.is_initialized():
        yield ray
        return
    settings: dict[str, Any] = {}
    if address == "local":
        settings = {"include_dashboard": False, "object_store_memory": _RAY_TEXTS_BYTES}
    host, _, port = address.rpartition(":")
    if address not in ("local", "auto") and (not host or not port.isdecimal() or "://" in address):
        raise UsageError(
            f"{address!r} is not the address of a Ray cluster: write host:port, with the port of "
            "its head (6379), and "
            "run the command on a node of the cluster."
        )
    try:
        ray.init(address=address, configure_logging=False, log_to_driver=False, **settings)
    except Exception as error:  # Ray raises many kinds
        reason = "it does not answer" if isinstance(error, ConnectionError) else last_line(error)
        raise ClusterError(
            f"the Ray cluster at {address} cannot be used: {reason}. See `ray status` on its head, "
            "and run "
            "the command on a node of the cluster, with the same versions of Python and Ray; or "
            "leave out "
            "`ray_address` and RAY_ADDRESS to use this machine."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _shares(ray: Any, options: ClusterOptions) -> tuple[int, dict[str, float]]:
    """Return the number of workers, and the resources of each."""
    nodes = [
        (node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        for node in ray.nodes()
        if node["Alive"]
    ]
    n_cpus, n_gpus = (int(sum(of_nodes)) for of_nodes in zip(*nodes, strict=True))
    gpus = options.worker_gpus if options.worker_gpus is not None else float(bool(n_gpus))
    if options.worker_cpus is not None:
        cpus = options.worker_cpus
    else:
        cpus = 1 if gpus else int(min((cpu for cpu, _ in nodes if cpu >= 1), default=1))
    capacity = sum(int(min(cpu // cpus, gpu // gpus if gpus else cpu)) for cpu, gpu in nodes)
    if (options.workers or 1) > capacity:
        wanted = f"{count(cpus, 'core')}" + (f" and {gpus:g} GPUs" if gpus else "")
        raise ClusterError(
            f"the cluster has room for {capacity} workers with {wanted} each, not for "
            f"{options.workers or 1}: its "
            f"{len(nodes)} nodes have {n_cpus} cores and {n_gpus} GPUs. Ask for less with "
            "`workers`, `worker_gpus` or "
            "`worker_cpus`, or start more nodes first; embstore starts none."
        )
    return options.workers or capacity, {"num_cpus": cpus, "num_gpus": gpus}


class RangeJob(NamedTuple):
    """Ranges of one checkpoint: what their workers must have, and the ranges, read as workers
    become free.
    """

    requirement: Requirement
    tasks: Iterator[RangeTask]


@dataclass(eq=False)
class _Attempt:
    """A range that is to be encoded, the position of its job, and the number of workers that died
    while they had it.
    """

    job: int
    task: RangeTask
    n_deaths: int = 0


class RangeQueue:
    """Hands out ranges to workers, those of the next job as soon as all of the one before are
    given.
    """

    def __init__(self, ray: Any, workers: Sequence[Any], jobs: Sequence[RangeJob]) -> None:
        self._ray, self._workers = ray, workers
        self._ready: set[Any] = set()  # those that can be given ranges
        self._requirements = [ray.put(job.requirement) for job in jobs]
        self._new = (
            _Attempt(position, task) for position, job in enumerate(jobs) for task in job.tasks
        )
        # Those over which workers died, then the next new one.
        self._waiting: deque[_Attempt] = deque()
        self._calls: dict[Any, tuple[Any, _Attempt | None]] = {}

    def outcomes(self) -> Iterator[RangeOutcome]:
        """Yield what becomes of each range, in any order.

        After Ctrl-C no range is handed out any more, and those that end soon are yielded before
        KeyboardInterrupt.
        """
        began = time.monotonic()
        for worker in self._workers:
            self._check(worker)
        try:
            while self._hand_out():
                yield from self._finished()
                is_late = time.monotonic() - began > START_SECONDS
                if is_late and not self._ready:
                    what = (
                        f"{count(len(self._workers), 'worker')}: see `ray status` for what is free"
                    )
                    report_progress(Progress("wait", what))
                if is_late or self._ready:
                    began = time.monotonic()
        except KeyboardInterrupt:
            yield from self._finish_soon()
            raise

    def _finish_soon(self) -> Iterator[RangeOutcome]:
        """Yield the ranges that end within the time after Ctrl-C."""
        ends, n_before = time.monotonic() + INTERRUPT_SECONDS, 0
        while (
            n := sum(attempt is not None for _, attempt in self._calls.values())
        ) and time.monotonic() < ends:
            if n != n_before:
                what = (
                    f"{count(n, 'range')} of texts, for up to {INTERRUPT_SECONDS:g} s (Ctrl-C again"
                    " ends at once)"
                )
                report_progress(Progress("finish", what))
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
            if attempt is None:
                if isinstance(outcome, Exception):
                    raise outcome
            elif outcome is None:
                yield from self._after_death(attempt)
            else:
                yield RangeOutcome(attempt.job, attempt.task, outcome)

    def _hand_out(self) -> bool:
        """Give ranges to the workers that accept them; return whether any is still to be waited
        for.
        """
        for worker in self._workers:
            while (attempt := self._first()) is not None and self._accepts(worker, attempt):
                self._waiting.popleft()
                call = worker.encode.remote(attempt.task, self._requirements[attempt.job])
                self._calls[call] = (worker, attempt)
        return self._first() is not None or any(
            attempt is not None for _, attempt in self._calls.values()
        )

    def _accepts(self, worker: Any, attempt: _Attempt) -> bool:
        """Return whether to give a worker a range now: one over which a worker died gets a worker
        of its own.
        """
        running = [
            other for actor, other in self._calls.values() if actor is worker and other is not None
        ]
        is_alone = any(member.n_deaths for member in (attempt, *running))
        return worker in self._ready and len(running) < (1 if is_alone else IN_FLIGHT)

    def _first(self) -> _Attempt | None:
        """Return the range to hand out next; None if there is none left."""
        while not self._waiting and (attempt := next(self._new, None)) is not None:
            if windows := tuple(attempt.task.windows):
                self._waiting.append(_Attempt(attempt.job, replace(attempt.task, windows=windows)))
        return self._waiting[0] if self._waiting else None

    def _outcome(
        self, call: Any, worker: Any, attempt: _Attempt | None
    ) -> RangeResult | Exception | None:
        """Return the result of a call, or the error that ends the build; None if there is
        neither.
        """
        errors = self._ray.exceptions
        try:
            result = self._ray.get(call)
        except errors.ActorDiedError as error:
            if attempt is None:  # it is not started again
                return ClusterError(
                    f"a worker of the cluster cannot be started: {last_line(error)}."
                )
            self._died(worker)
        except (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
        ):
            self._died(worker)
        except errors.RayError as error:
            return ClusterError(f"a worker of the cluster failed: {last_line(error)}.")
        else:
            if attempt is not None:
                return result  # type: ignore[no-any-return]
            self._ready.add(worker)
            return None if result is None else ClusterError(result)
        return None

    def _died(self, worker: Any) -> None:
        """Wait for a worker to be started again, unless it is waited for already."""
        if not any(other is worker and attempt is None for other, attempt in self._calls.values()):
            self._ready.discard(worker)
            self._check(worker)

    def _after_death(self, attempt: _Attempt) -> Iterator[RangeOutcome]:
        """Put back a range over which a worker died, in halves after some tries, or give up its
        only item.
        """
        attempt.n_deaths += 1
        if attempt.n_deaths < N_TRIES:
            self._waiting.appendleft(attempt)
        elif attempt.task.n_items > 1:
            # Each half is tried once, or a single item twice, since another fault may kill a
            # worker.
            for half in reversed(attempt.task.halves()):
                n_deaths = N_TRIES - (2 if half.n_items == 1 else 1)
                self._waiting.appendleft(_Attempt(attempt.job, half, n_deaths))
        else:
            yield RangeOutcome(attempt.job, attempt.task, None)

    def _check(self, worker: Any) -> None:
        """Ask a worker whether it can take part; Ray repeats the question while the worker is being
        started.
        """
        call = worker.problem.options(max_task_retries=-1).remote(self._requirements[0])
        self._calls[call] = (worker, None)


def last_line(error: Exception) -> str:
    """Return the last line of an error of Ray, which follows the trace of the worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
