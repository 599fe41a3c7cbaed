"""Builds in processes of their own, which can be killed: forked from a server that has the libraries loaded."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from embstore.base import disk

CONTEXT = multiprocessing.get_context("forkserver")
_MODULES = "model_loading embstore.store embstore.build.pipeline transformers.models.gpt2.modeling_gpt2 faiss pandas"
CONTEXT.set_forkserver_preload(_MODULES.split())  # pandas: pyarrow loads it where it is installed

SHARD_ITEMS = 16
SHARD_BYTES = SHARD_ITEMS * 4 * 32 * 4


class Kill(NamedTuple):
    """A moment of a build: so many seconds after a share of it is done."""

    share: float
    seconds: float


def start_build(
    source: Path, checkpoint: Path, store: Path, *, kill: Kill | None = None, report: Path | None = None
) -> BaseProcess:
    """Start a build of small shards.

    Args:
        source: the file of texts.
        checkpoint: the checkpoint's folder.
        store: where the store goes.
        kill: when it kills itself, at its end at the latest.
        report: told at the end what was done.
    """
    process = CONTEXT.Process(target=_build, args=(source, checkpoint, store, kill, report))
    process.start()
    return process


def count_steps(build: Callable[[], object], at_step: int = 0) -> tuple[int, int | None]:
    """Run a build that dies as a kill -9 does just before the n-th rename, link or removal of a file.

    Returns:
        How many of these steps it came to, and its exit code.
    """
    steps = CONTEXT.Value("i", 0)
    process = CONTEXT.Process(target=_dying, args=(build, at_step, steps))
    process.start()
    process.join()
    return steps.value, process.exitcode


def _dying(build: Callable[[], object], at_step: int, steps: Synchronized) -> None:
    def count(operation: str, *_: object) -> None:
        if operation in ("replace", "link", "remove"):
            steps.value += 1
            if steps.value == at_step:
                os._exit(9)

    with disk.watched(count):
        build()


def finish_build(source: Path, checkpoint: Path, store: Path) -> dict[str, int]:
    """Build to the end, and return how many items were embedded and how many were present."""
    report = store.with_name(f"{store.name}-report.json")
    process = start_build(source, checkpoint, store, report=report)
    process.join()
    assert process.exitcode == 0
    return json.loads(report.read_text())


def _build(source: Path, checkpoint: Path, store: Path, kill: Kill | None, report: Path | None) -> None:
    import torch

    from embstore import Store

    stages = {"load": (0.0, 0.0), "encode": (0.0, 0.8), "read": (0.8, 0.0), "index": (0.8, 0.2)}
    killers: list[Thread] = []

    def observe(step) -> None:
        first, length = stages[step.stage]
        if kill is not None and not killers and first + length * step.share >= kill.share:
            killers.append(Thread(target=_die, args=(kill.seconds,)))
            killers[0].start()

    torch.set_num_threads(1)
    done = Store(store).build(
        [str(source)], models=f"tiny={checkpoint}", poolings=["last", "mean"], batch_tokens=24, shard_bytes=SHARD_BYTES,
        observe=observe,
    )  # fmt: skip
    for killer in killers:
        killer.join()
    if report is not None:
        report.write_text(json.dumps({"embedded": done.spaces[0].embedded, "present": done.spaces[0].present}))


def _die(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
