"""Encode the ranges of a build on a Ray cluster. The only module that imports ray.

This process hands out ranges and gets back the names of uncommitted shards. Ray runs a task at least once, not exactly
once: a worker that seemed dead may finish its range later. Nothing comes of that, since only this process commits.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from embstore.base import atomic, disk
from embstore.base.errors import ClusterError, UsageError
from embstore.base.installation import install_command
from embstore.base.progress import Observer
from embstore.build.job import Model
from embstore.build.range_queue import (
    IN_FLIGHT,
    ClusterWorker,
    Patience,
    RangeJob,
    RangeOutcome,
    RangeQueue,
    last_line,
)
from embstore.build.ranges import RangeTask
from embstore.build.worker import RangeWorker, Requirement
from embstore.storage.files.paths import StorePaths

_STOP_SECONDS = 5.0
_RAY_TEXTS_BYTES = 512 << 20  # of a local instance's memory for the texts of ranges


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Options of a build on a cluster.

    Attributes:
        workers: Number of workers; None for as many as fit.
        worker_gpus: GPUs of each worker; None for one if the cluster has GPUs.
        worker_cpus: CPU cores of each worker; None for one beside a GPU, else for all cores of the smallest node.
        address: Address of the cluster as ``host:port`` or ``auto``; None for that in ``RAY_ADDRESS``, else for a local
            instance.
        patience: How long to wait for workers.
    """

    workers: int | None = None
    worker_gpus: float | None = None
    worker_cpus: int | None = None
    address: str | None = None
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        for name, value, least in (
            ("workers", self.workers, 1),
            ("worker-gpus", self.worker_gpus, 0),
            ("worker-cpus", self.worker_cpus, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"⦃{name}⦄ must be at least {least}, not {value:g}.")


class Cluster:
    """A connection to a Ray cluster, with the workers of a build; a context manager.

    Args:
        options: Options of the build on the cluster.
        root: Folder of the store.

    Attributes:
        n_workers: Number of workers.
    """

    def __init__(self, options: ClusterOptions, root: Path) -> None:
        self._options, self._paths = options, StorePaths(disk.resolved(root))
        self._build = os.urandom(8).hex()
        self._workers: list[ClusterWorker] = []
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

    def encode(
        self, jobs: Sequence[tuple[Model, Iterator[RangeTask]]], observe: Observer = lambda _: None
    ) -> Generator[RangeOutcome]:
        """Encode ranges on the workers, and yield what becomes of each, in any order.

        Args:
            jobs: Checkpoints, each with its ranges; these are read as workers become free.
            observe: Callback for progress, which is told what is waited for.

        Raises:
            ClusterError: A worker cannot take part.
        """
        with atomic.temporary(self._paths.root) as sign:
            content = os.urandom(16)
            disk.write(sign, content)
            has_gpu = bool(self._options.worker_gpus != 0 and self._resources["num_gpus"])
            queued = [
                RangeJob(
                    Requirement.of(model, self._paths.root, self._build, (sign, content)),
                    tasks if has_gpu else map(_without_gpu, tasks),
                )
                for model, tasks in jobs
            ]
            yield from RangeQueue(self._ray, self._started(), queued, observe, self._options.patience).outcomes()

    def remove_leftovers(self) -> None:
        """Remove what workers that died have left in the store."""
        for path in disk.listed(self._paths.root):
            if atomic.is_temporary(path.name) and f"-{self._build}" in path.name:
                atomic.discard(path)

    def _started(self) -> list[ClusterWorker]:
        """Return the workers; the first call starts them."""
        if not self._workers:
            kind = self._ray.remote(RangeWorker).options(
                **self._resources, max_restarts=-1, max_task_retries=0, max_concurrency=IN_FLIGHT + 1,
                scheduling_strategy="SPREAD",
            )  # fmt: skip
            self._workers = [ClusterWorker(kind.remote()) for _ in range(self.n_workers)]
        return self._workers

    def _stop_workers(self) -> None:
        """End the workers, then remove what they have left: a process that is killed may still write for a moment."""
        stops = [worker.actor.stop.remote() for worker in self._workers if worker.is_ready]
        try:
            if stops:
                self._ray.wait(stops, num_returns=len(stops), timeout=_STOP_SECONDS)
        finally:
            for worker in self._workers:
                self._ray.kill(worker.actor)
            self.remove_leftovers()


def _without_gpu(task: RangeTask) -> RangeTask:
    """Return a task for a worker without a GPU, which must not use one that its machine has."""
    return replace(task, options=replace(task.options, device=task.options.device or "cpu"))


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster within the context, or start a local instance if there is no address; yield the library.

    A connection that the process already has is used, and kept.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a local instance would report to Ray's developers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning about it
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # attempts to connect, 40 s each; Ray makes 20 of them
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"⦃on=ray⦄ needs Ray, which cannot be imported ({error}): {install_command('ray')}") from error
    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = (
        {"include_dashboard": False, "object_store_memory": _RAY_TEXTS_BYTES} if address == "local" else {}
    )
    if address not in ("local", "auto"):
        _check_address(address)
    try:
        ray.init(address=address, configure_logging=False, log_to_driver=False, **own)
    except Exception as error:  # Ray raises many kinds
        raise ClusterError(
            f"the Ray cluster at {address} cannot be used: {last_line(error)}. See `ray status` on its head, and run "
            "the command on a node of the cluster, with the same versions of Python and Ray; or leave out "
            "⦃ray-address⦄ and RAY_ADDRESS to use this machine."
        ) from error
    # Ray prints there what befalls workers, in lines of its own between those of the progress.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield ray
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


def _check_address(address: str) -> None:
    """Raise UsageError unless an address has the form ``host:port``."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise UsageError(
            f"{address!r} is not the address of a Ray cluster: write host:port, with the port of its head (6379), and "
            "run the command on a node of the cluster."
        )


def _shares(ray: Any, options: ClusterOptions) -> tuple[int, dict[str, float]]:
    """Return the number of workers, and the resources of each.

    Raises:
        ClusterError: The cluster has fewer resources than asked for.
    """
    nodes = [
        (node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]
    ]
    n_cpus, n_gpus = (int(sum(of_nodes)) for of_nodes in zip(*nodes, strict=True))
    gpus = options.worker_gpus if options.worker_gpus is not None else float(bool(n_gpus))
    if options.worker_cpus is not None:
        cpus = options.worker_cpus
    else:
        cpus = 1 if gpus else int(min((cpu for cpu, _ in nodes if cpu >= 1), default=1))
    capacity = sum(int(min(cpu // cpus, gpu // gpus if gpus else cpu)) for cpu, gpu in nodes)
    if (options.workers or 1) > capacity:
        wanted = f"{cpus} {'core' if cpus == 1 else 'cores'}" + (f" and {gpus:g} GPUs" if gpus else "")
        raise ClusterError(
            f"the cluster has room for {capacity} workers with {wanted} each, not for {options.workers or 1}: its "
            f"{len(nodes)} nodes have {n_cpus} cores and {n_gpus} GPUs. Ask for less with ⦃workers⦄, ⦃worker-gpus⦄ or "
            "⦃worker-cpus⦄, or start more nodes first; embstore starts none."
        )
    return options.workers or capacity, {"num_cpus": cpus, "num_gpus": gpus}
