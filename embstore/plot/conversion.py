"""Convert Vega-Lite specifications by vl-convert, in a process of its own where that saves time.

vl-convert starts a JavaScript engine, which takes longer than most queries, and no other Python code of its process
runs meanwhile. Another process starts it while the result is still computed.
"""

import atexit
import json
import marshal
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embstore.base.errors import UsageError

VEGA_LITE = "6.1"

_WORKER = """
import sys
sys.path.append(sys.argv[2])
import marshal, vl_convert

vl_convert.vegalite_to_vega({"data": {"values": []}, "mark": "point"}, vl_version=sys.argv[1])
while True:
    try:
        name, arguments = marshal.load(sys.stdin.buffer)
    except EOFError:
        break
    marshal.dump(getattr(vl_convert, name)(**arguments), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""

_ENVIRONMENT = {"MALLOC_TOP_PAD_": str(16 << 20)}
"""Lets the C library of Linux take memory in large steps: thousands of small ones cost a twentieth of the start."""

_worker: ContextVar["subprocess.Popen[bytes] | None"] = ContextVar("worker", default=None)
_waiting: list["subprocess.Popen[bytes]"] = []
"""The process that was started before it was known what to draw, until a block takes it."""


def convert(name: str, **arguments: Any) -> Any:
    """Return what a function of vl-convert returns."""
    arguments["vl_version"] = VEGA_LITE
    if (worker := _worker.get()) is not None:
        with suppress(OSError, EOFError, ValueError):  # what fails there fails here too, with its reason
            return _ask(worker, name, arguments)
    return getattr(_converter(), name)(**arguments)


@contextmanager
def starting_early() -> Iterator[None]:
    """Start vl-convert in another process, for the conversions within a ``with`` block, unless it runs already."""
    if _worker.get() is not None or "vl_convert" in sys.modules:
        yield
        return
    worker = _waiting.pop() if _waiting else _start()
    token = _worker.set(worker)
    try:
        yield
    finally:
        _worker.reset(token)
        if worker is not None:
            _end(worker)


def start_before() -> None:
    """Start vl-convert in another process, which the next block of :func:`starting_early` takes."""
    if (worker := _start()) is not None:
        _waiting.append(worker)
        atexit.register(lambda: _end(_waiting.pop()) if _waiting else None)


def _start() -> "subprocess.Popen[bytes] | None":
    """Start vl-convert in another process; None where it is not installed, or no process may be started."""
    if (found := find_spec("vl_convert")) is None or found.origin is None:
        return None
    # Without the module site, which takes a third of Python's start.
    command = [sys.executable, "-P", "-S", "-c", _WORKER, VEGA_LITE, str(Path(found.origin).parents[1])]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                env={**os.environ, **_ENVIRONMENT})  # fmt: skip
    except OSError:  # no more processes are allowed
        return None


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.kill()
    with suppress(OSError):  # what was not sent to a worker that has ended
        worker.communicate()


def _ask(worker: "subprocess.Popen[bytes]", name: str, arguments: dict[str, Any]) -> str | bytes:
    """Have the worker convert."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    plain = json.loads(json.dumps(arguments))  # as text, vl-convert would round numbers in their last digit
    marshal.dump((name, plain), worker.stdin)
    worker.stdin.flush()
    result: str | bytes = marshal.load(worker.stdout)
    return result


def _converter() -> Any:
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        from embstore.base.installation import (
            install_command,  # loads importlib.metadata, as long as a sixth of a query
        )

        raise UsageError(
            f"pictures are drawn by vl-convert-python, which is not installed: {install_command('plot')}. "
            "Vega-Lite specifications need nothing more: embstore plot METRIC -o FIGURE.vl.json"
        ) from error
    return vl_convert
