"""Reading vectors, and answering without reading them."""

import time
from pathlib import Path

from benchmark_start import process
from benchmark_stores import Workspace, query
from benchmark_timing import Contender, Result, compare, interleave, rate, timed
from peak_memory import peak

from embstore import Store

_LAYERS = 13
_GROWTH = 1.15  # of the peak memory between n and 10 n: what the allocator and ten times the summaries may add


def scale(space: Workspace) -> list[Result]:
    """Ask for the anisotropy of large stores and of small ones, where summaries answer, and other
    questions twice.
    """
    size = space.size
    most = space.synthetic(size.most, _LAYERS, size.low_dim, size.shards)
    return [
        *_anisotropy(space, space.synthetic(size.many, _LAYERS), size.many, size.dim),
        *_anisotropy(space, most, size.most, size.low_dim),
        *_again(space, most, "isoscore", f"{size.most:,} × {_LAYERS} × {size.low_dim}"),
        *_again(
            space,
            space.synthetic(size.few, _LAYERS),
            "hubness",
            f"{size.few:,} × {_LAYERS} × {size.dim}",
        ),
    ]


def _anisotropy(space: Workspace, many: Path, n: int, dim: int) -> list[Result]:
    size = space.size
    few = space.synthetic(size.few, _LAYERS, dim)
    shape = f"anisotropy of {{:,}} × {_LAYERS} × {dim}"
    what = f"{shape.format(n)} to {shape.format(size.few)},"
    processes = interleave(
        {path.name: _process(space, "anisotropy", path) for path in (many, few)}, size.starts
    )
    calls = interleave(
        {path.name: query(path, "anisotropy", variant="raw") for path in (many, few)}, size.reads
    )
    return [
        compare(f"{what} one process each", processes[many.name], processes[few.name], goal=1.5),
        compare(f"{what} in one process", calls[many.name], calls[few.name]),
    ]


def _again(space: Workspace, path: Path, metric: str, shape: str) -> list[Result]:
    """Ask a question that has been asked before: the store has its answer."""
    first = _process(space, metric, path)()
    seconds = interleave(
        {name: _process(space, name, path) for name in (metric, "anisotropy")}, space.size.starts
    )
    return [
        compare(
            f"{metric} of {shape}, asked again, to its anisotropy",
            seconds[metric],
            seconds["anisotropy"],
            goal=1.5,
        ),
        compare("… to asking for the first time", seconds[metric], [first] * space.size.starts),
    ]


def _process(space: Workspace, metric: str, path: Path) -> Contender:
    return process(("query", metric, "--store", str(path)), space.root)


def centred(space: Workspace) -> list[Result]:
    """Ask for the centred anisotropy, which reads every vector."""
    size = space.size
    long, short = space.synthetic(size.long, 1), space.synthetic(size.short, 1)
    n_bytes = 4 * size.long * size.dim
    seconds = interleave(
        {"all": query(long, "anisotropy", variant="centred"), "read": _read(long)}, size.reads
    )
    gigabytes = n_bytes / min(seconds["all"]) / 1e9
    peaks = [_peak(path) for path in (long, short)]
    shown = rate(n_bytes)
    what = f"centred anisotropy of {size.long:,} × {size.dim}, which reads all"
    return [
        Result(
            f"{what}: GB/s, warm", shown(min(seconds["all"])), "", gigabytes, 2.5, True, size.reads
        ),
        Result("… per second of processor time", shown(_processor_seconds(long)), "", rounds=1),
        compare("… to reading the files' bytes", seconds["all"], seconds["read"], show=shown),
        Result(
            f"… peak memory, to that of {size.short:,}",
            *(f"{peak / 1e3:.0f} MB" for peak in peaks),
            peaks[0] / peaks[1],
            _GROWTH,
        ),
    ]


def _processor_seconds(path: Path) -> float:
    began = time.process_time()
    Store(path).query("anisotropy", variant="centred", cache=False)
    return time.process_time() - began


def _read(path: Path) -> Contender:
    def work() -> None:
        buffer = bytearray(1 << 22)
        for shard in path.glob("embeddings/*/*.parquet"):
            with shard.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    return timed(work)


def _peak(path: Path) -> int:
    """Return the peak memory of the question in a process of its own, in kB."""
    question = "query('anisotropy', variant='centred', cache=False)"
    return peak(f"from embstore import Store; Store({str(path)!r}).{question}")[0]
