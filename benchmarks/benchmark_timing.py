"""Time contenders against each other, and put the ratios in a table.

Ratios are measured in one run: the contenders take turns (A B C A B C …), so that whatever else the
machine does falls on all of them, and each is judged by its best time.
"""

import gc
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from statistics import median

Contender = Callable[[], float]
"""Does its work once and returns the seconds that count."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        words: frequent English words that are embedded.
        loop_words: those of them that the one-by-one loop embeds.
        builds: rounds of the benchmarks that embed.
        starts: rounds of the benchmarks that start processes.
        reads: rounds of the benchmarks that read or write vectors.
        few, many: items of the two synthetic stores of 13 layers.
        most: items of a store of 13 layers of few components.
        shards: of that store.
        short, long: items of the two synthetic stores of one layer.
        dim: components of a synthetic vector.
        sentences: of some 46 tokens that are embedded.
        low_dim: those of the store of the most items.
        gpt2_words: frequent English words that the GPT-2 of full size embeds.
        gpt2_builds: rounds of that.
        deep: layers, items and components of the store whose layers are compared by two routes.
        growth: items of the clustered stores of one layer.
        search_dim: components of a clustered vector.
        one_shots: rounds of single questions to the clustered stores, a process each.
        queries: held-out vectors whose neighbours are searched.
        search_seconds: how long a contender searches in a round.
        probed: words that are probed for a label.
        slow: the most items for those that would take minutes or gigabytes with more.
        without: peers that do not take part, by name.
    """

    words: int = 8_000
    loop_words: int = 300
    builds: int = 4
    starts: int = 15
    reads: int = 7
    few: int = 1_000
    many: int = 100_000
    most: int = 1_000_000
    shards: int = 300
    short: int = 20_000
    long: int = 200_000
    dim: int = 768
    low_dim: int = 16
    sentences: int = 1_000
    gpt2_words: int = 10_000
    gpt2_builds: int = 3
    deep: tuple[int, int, int] = (34, 1_500, 1_024)
    growth: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    search_dim: int = 384
    one_shots: int = 7
    queries: int = 1000
    search_seconds: float = 2.0
    probed: int = 2_000
    slow: int = 100_000
    without: tuple[str, ...] = ()

    def up_to(self, n: int) -> "Size":
        """Return the size without the clustered stores of more than n items."""
        return replace(self, growth=tuple(each for each in self.growth if each <= n))


FULL = Size()
QUICK = Size(
    words=2_000,
    loop_words=100,
    builds=3,
    starts=7,
    reads=3,
    many=10_000,
    most=100_000,
    short=5_000,
    long=50_000,
    gpt2_words=500,
    gpt2_builds=2,
    deep=(13, 500, 768),
    growth=(1_000, 10_000),
    one_shots=3,
    queries=100,
    search_seconds=1.0,
    probed=500,
    slow=10_000,
    sentences=200,
)
TINY = Size(
    words=40,
    loop_words=4,
    builds=1,
    starts=1,
    reads=1,
    few=20,
    many=60,
    most=60,
    shards=5,
    short=50,
    long=100,
    dim=16,
    gpt2_words=10,
    gpt2_builds=1,
    deep=(3, 20, 16),
    growth=(60, 90),
    search_dim=16,
    one_shots=1,
    queries=4,
    search_seconds=0.01,
    probed=40,
    slow=60,
    sentences=4,
)


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        what: what is compared with what.
        ours: embstore's figure, with its unit.
        peer: the other's.
        ratio: of the two; None for a figure that stands alone.
        goal: the bound on the ratio; None where it is only reported.
        at_least: whether the goal is a lower bound.
        rounds: how often each contender ran.
        median_ratio: the median over the rounds of the ratio within a round, to show how steady the
            ratio is.
    """

    what: str
    ours: str
    peer: str
    ratio: float | None = None
    goal: float | None = None
    at_least: bool = False
    rounds: int = 1
    median_ratio: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.ratio is None or self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    @property
    def cells(self) -> tuple[str, ...]:
        """The line as text."""
        goal = "" if self.goal is None else f"{'≥' if self.at_least else '≤'} {self.goal:g}"
        verdict = {None: "", True: "holds", False: "MISSED"}[self.holds]
        return (
            self.what,
            self.ours,
            self.peer,
            _number(self.ratio),
            _number(self.median_ratio),
            goal,
            verdict,
            str(self.rounds),
        )


@dataclass(frozen=True)
class Point:
    """One measured cost at one size: how a cost grows is a line through the points of one
    contender.

    Attributes:
        cost: what was done.
        who: the contender.
        n: items.
        seconds: the best of the rounds.
        rounds: how often it ran.
    """

    cost: str
    who: str
    n: int
    seconds: float
    rounds: int = 1


def timed(work: Callable[[], object]) -> Contender:
    """Return what does the work once, and returns the seconds that it took."""

    def run() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


HEADER = ("what", "ours", "peer", "ratio", "median", "goal", "verdict", "rounds")


def interleave(
    contenders: Mapping[str, Contender], rounds: int, *, warmups: int | None = None
) -> dict[str, list[float]]:
    """Let the contenders take turns, and return the seconds of each round; by default one goes
    before several.
    """
    warmups = int(rounds > 1) if warmups is None else warmups
    for _ in range(warmups):
        for contender in contenders.values():
            contender()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            gc.collect()
            seconds[name].append(contender())
    return seconds


def compare(
    what: str,
    ours: list[float],
    peer: list[float],
    *,
    goal: float | None = None,
    faster: bool = False,
    show: Callable[[float], str] | None = None,
) -> Result:
    """Return the result of two contenders of the same rounds.

    Args:
        what: what is compared with what.
        ours: embstore's seconds, round by round.
        peer: the other's.
        goal: the bound: on ours/peer, or with ``faster`` on peer/ours, which is then a lower bound.
        faster: whether the ratio says how many times faster embstore is.
        show: seconds as text.
    """
    show = show or milliseconds

    def ratio(mine: float, its: float) -> float:
        return its / mine if faster else mine / its

    steady = median(ratio(mine, its) for mine, its in zip(ours, peer, strict=True))
    best = min(ours), min(peer)
    return Result(what, show(best[0]), show(best[1]), ratio(*best), goal, faster, len(ours), steady)


def milliseconds(seconds: float) -> str:
    """Return seconds as text."""
    return (
        f"{seconds:.2f} s"
        if seconds >= 10
        else f"{seconds * 1e3:,.{0 if seconds >= 0.1 else 2}f} ms"
    )


def rate(n_bytes: int) -> Callable[[float], str]:
    """Return what shows seconds as GB/s."""
    return lambda seconds: f"{n_bytes / seconds / 1e9:.2f} GB/s"


def markdown(results: list[Result]) -> str:
    """Return the table."""
    rows = [HEADER, *(result.cells for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> str:
    """Return what the figures depend on: the computer, and the versions of what is installed of
    libraries and peers.
    """
    names = (
        "torch", "transformers", "sentence-transformers", "numpy", "scipy", "duckdb", "faiss-cpu",
        "pyarrow", "typer",
        "openTSNE", "gensim", "lancedb", "usearch", "hnswlib", "llm", "scikit-learn",
    )  # fmt: skip
    versions = ", ".join(f"{name} {version}" for name in names if (version := installed(name)))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    computer = (
        f"{os.cpu_count()} cores, {_processor()}, {memory:.0f} GiB, {platform.system()}, load"
        f" {load}"
    )
    return f"{computer}\nPython {platform.python_version()}, {versions}"


def installed(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
