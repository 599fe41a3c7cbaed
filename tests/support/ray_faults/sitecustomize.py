"""Inject faults into the workers of a Ray cluster; on the PYTHONPATH of its nodes, Python imports
this when it starts.

What shall fail is told by files in the folder ``RAY_TEST_FAULTS``; a worker takes the file away
before it obeys.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "embstore.build.ranges"


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module with the worker, and changes it once it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        real = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            real(module)
            _change(module.RangeWorker)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _change(worker: Any) -> None:
    real = worker.encode

    def encode(self: Any, task: Any, requirement: Any) -> Any:
        Path(FOLDER, f"worker.{os.getpid()}").touch()
        while any(_is_there(f"hold after {n} ranges") and _n_encoded() >= n for n in (1, 3)):
            time.sleep(0.02)
        while _is_there("wait for another worker") and len([*Path(FOLDER).glob("worker.*")]) < 2:
            time.sleep(0.02)
        if any(item.text == "poison" for window in task.windows for item in window.items()):
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(self, task, requirement)
        with Path(FOLDER, "encoded").open("a") as log:
            log.write(f"{os.getpid()} {task.n_items}\n")
        if _take("kill after the write"):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    worker.encode = encode


def _n_encoded() -> int:
    log = Path(FOLDER, "encoded")
    return len(log.read_text().splitlines()) if log.exists() else 0


def _is_there(fault: str) -> bool:
    return Path(FOLDER, fault).exists()


def _take(fault: str) -> bool:
    """Return whether a fault is due, and take it away, so that only one worker obeys."""
    try:
        Path(FOLDER, fault).unlink()
    except FileNotFoundError:
        return False
    return True


FOLDER = os.environ.get("RAY_TEST_FAULTS", "")
if FOLDER and "RAY_RAYLET_PID" in os.environ:  # a worker
    sys.meta_path.insert(0, _Finder())
