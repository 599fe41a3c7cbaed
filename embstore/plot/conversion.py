"""Convert Vega-Lite specifications by vl-convert, in a process of its own where that saves time.

vl-convert starts a JavaScript engine, which takes longer than most queries, and no other Python code of its process
runs meanwhile. Another process starts it while the result is still computed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embstore.errors import UsageError
from embstore.installation import install_command

VEGA_LITE = "6.1"

_WORKER = """
import sys
sys.path.append(sys.argv[2])
import json, vl_convert

vl_convert.vegalite_to_vega({"data": {"values": []}, "mark": "point"}, vl_version=sys.argv[1])
for line in sys.stdin.buffer:
    name, arguments = json.loads(line)
    result = getattr(vl_convert, name)(**arguments)
    is_text = isinstance(result, str)
    data = result.encode() if is_text else result
    sys.stdout.buffer.write(json.dumps([is_text, len(data)]).encode() + b"\\n" + data)
    sys.stdout.buffer.flush()
"""

_worker: ContextVar["subprocess.Popen[bytes] | None"] = ContextVar("worker", default=None)


def convert(name: str, **arguments: Any) -> Any:
    """Return what a function of vl-convert returns.

    Args:
        name: Name of the function.
        arguments: Arguments besides the version of Vega-Lite, of the types of JSON.

    Raises:
        UsageError: vl-convert is not installed.
    """
    arguments["vl_version"] = VEGA_LITE
    if (worker := _worker.get()) is not None:
        with suppress(OSError, ValueError):  # it has ended: what fails there fails here too, with its reason
            return _ask(worker, name, arguments)
    return getattr(_converter(), name)(**arguments)


@contextmanager
def starting_early() -> Iterator[None]:
    """Start vl-convert in another process, for the conversions within a ``with`` block, unless it runs already."""
    worker = _worker.get()
    if worker is not None or "vl_convert" in sys.modules:
        yield
        return
    if (found := find_spec("vl_convert")) is not None and found.origin is not None:
        # Without the module site, which takes a third of Python's start.
        command = [sys.executable, "-P", "-S", "-c", _WORKER, VEGA_LITE, str(Path(found.origin).parents[1])]
        with suppress(OSError):  # no more processes are allowed
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    token = _worker.set(worker)
    try:
        yield
    finally:
        _worker.reset(token)
        if worker is not None:
            worker.kill()
            with suppress(OSError):  # what was not sent to a worker that has ended
                worker.communicate()


def _ask(worker: "subprocess.Popen[bytes]", name: str, arguments: dict[str, Any]) -> str | bytes:
    """Have the worker convert.

    Raises:
        OSError: The worker has ended.
        ValueError: It ended before it replied.
    """
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
    worker.stdin.flush()
    is_text, n_bytes = json.loads(worker.stdout.readline())
    data = worker.stdout.read(n_bytes)
    if len(data) != n_bytes:
        raise ValueError(f"{len(data)} of {n_bytes} bytes")
    return data.decode() if is_text else data


def _converter() -> Any:
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise UsageError(
            f"pictures are drawn by vl-convert-python, which is not installed: {install_command('plot')}; or write "
            "the Vega-Lite specification, which needs nothing: -o FIGURE.vl.json"
        ) from error
    return vl_convert
