"""Reading vectors, and answering without reading them."""

import subprocess
import sys
import time
from pathlib import Path

from benchmark_start import process
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave, rate

from embstore import Store

_LAYERS = 13
_GROWTH = 1.15  # of the peak memory between n and 10 n: what the allocator and ten times the summaries may add
# Not ru_maxrss: a process that is started keeps the peak of the one that starts it.
_PEAK = """
import re, sys
from pathlib import Path
from embstore import Store
Store(sys.argv[1]).query("anisotropy", variant="centred", cache=False)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def scale(space: Workspace) -> list[Result]:
    """Ask for the anisotropy of a large store and of a small one: summaries answer."""
    size = space.size
    many, few = (space.synthetic(n, _LAYERS) for n in (size.many, size.few))
    shape = f"anisotropy of {{:,}} × {_LAYERS} × {size.dim}"
    what = f"{shape.format(size.many)} to {shape.format(size.few)},"
    question = ("query", "anisotropy", "--store")
    processes = interleave(
        {path.name: process((*question, str(path)), space.root) for path in (many, few)}, size.starts
    )
    calls = interleave({path.name: _query(path, "raw") for path in (many, few)}, size.reads)
    return [
        compare(f"{what} one process each", processes[many.name], processes[few.name], goal=1.5),
        compare(f"{what} in one process", calls[many.name], calls[few.name]),
    ]


def centred(space: Workspace) -> list[Result]:
    """Ask for the centred anisotropy, which reads every vector."""
    size = space.size
    long, short = space.synthetic(size.long, 1), space.synthetic(size.short, 1)
    n_bytes = 4 * size.long * size.dim
    seconds = interleave({"all": _query(long, "centred"), "read": _read(long)}, size.reads)
    gigabytes = n_bytes / min(seconds["all"]) / 1e9
    peaks = [_peak(path) for path in (long, short)]
    shown = rate(n_bytes)
    what = f"centred anisotropy of {size.long:,} × {size.dim}, which reads all"
    return [
        Result(f"{what}: GB/s, warm", shown(min(seconds["all"])), "", gigabytes, 1.0, True, size.reads),
        Result("… per second of processor time", shown(_processor_seconds(long)), "", rounds=1),
        compare("… to reading the files' bytes", seconds["all"], seconds["read"], show=shown),
        Result(f"… peak memory, to that of {size.short:,}", *(f"{peak / 1e3:.0f} MB" for peak in peaks),
               peaks[0] / peaks[1], _GROWTH),
    ]  # fmt: skip


def _query(path: Path, variant: str) -> Contender:
    def run() -> float:
        began = time.perf_counter()
        Store(path).query("anisotropy", variant=variant, cache=False)
        return time.perf_counter() - began

    return run


def _processor_seconds(path: Path) -> float:
    began = time.process_time()
    Store(path).query("anisotropy", variant="centred", cache=False)
    return time.process_time() - began


def _read(path: Path) -> Contender:
    def run() -> float:
        buffer = bytearray(1 << 22)
        began = time.perf_counter()
        for shard in path.glob("embeddings/*/*.parquet"):
            with shard.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        return time.perf_counter() - began

    return run


def _peak(path: Path) -> float:
    """Return the peak memory of the question in a process of its own, in kB."""
    done = subprocess.run((sys.executable, "-c", _PEAK, str(path)), check=True, capture_output=True, text=True)
    return float(done.stdout)
