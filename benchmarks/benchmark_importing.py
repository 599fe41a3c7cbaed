"""Import word2vec's text format: time and memory beside gensim's own loader."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from benchmark_stores import Workspace
from benchmark_timing import Result

_DIM = 300
_ROWS = 5_000
_TIME, _MEMORY = 2.0, 0.2
_SCRIPT = """
import re, time
from pathlib import Path
{prepare}
began = time.perf_counter()
{work}
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(time.perf_counter() - began, peak)
"""


def importing(space: Workspace) -> list[Result]:
    """Read as many vectors as the largest store has: with embstore into a store, with gensim into
    memory.

    No index is built, as gensim builds none. Peaks are of whole processes, with what they import.
    """
    n = space.size.most
    dim = min(_DIM, space.size.dim)
    file = space.made(f"word2vec-{n}-{dim}.txt", lambda path: _write(path, n, dim)).path
    store = space.new("imported")
    ours = _run(
        "from embstore import Store\nimport embstore.interop.importing",
        f"Store({str(store)!r}).import_vectors({str(file)!r}, 'imported', format='word2vec',"
        " index='none')",
    )
    what = f"import of {n:,} × {dim} from word2vec's text format"
    if find_spec("gensim") is None:
        return [Result(what, *(_shown(ours)), None)]
    peer = _run(
        "from gensim.models import KeyedVectors",
        f"KeyedVectors.load_word2vec_format({str(file)!r}, binary=False)",
    )
    (seconds, memory), (its_seconds, its_memory) = _shown(ours), _shown(peer)
    return [
        Result(f"{what}, to gensim's loader", seconds, its_seconds, ours[0] / peer[0], _TIME),
        Result("… peak memory", memory, its_memory, ours[1] / peer[1], _MEMORY),
    ]


def _write(path: Path, n: int, dim: int) -> None:
    """Write vectors of made-up words in word2vec's text format."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{n} {dim}\n")
        for start in range(0, n, _ROWS):
            for number, row in enumerate(rng.standard_normal((min(_ROWS, n - start), dim)), start):
                file.write(f"word{number} " + " ".join([f"{value:.6f}" for value in row]) + "\n")


def _run(prepare: str, work: str) -> tuple[float, float]:
    """Return the seconds of some work in a process of its own, and the peak memory of the process
    in kB.
    """
    code = _SCRIPT.format(prepare=prepare, work=work)
    done = subprocess.run(
        (sys.executable, "-W", "ignore", "-c", code), check=True, capture_output=True, text=True
    )
    seconds, memory = map(float, done.stdout.split()[-2:])
    return seconds, memory


def _shown(figures: tuple[float, float]) -> tuple[str, str]:
    return f"{figures[0]:.1f} s", f"{figures[1] / 1e3:.0f} MB"
