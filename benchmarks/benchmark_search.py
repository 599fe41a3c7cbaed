"""Searches in one process, at the same recall: what one query takes, and how many are answered in a
second.
"""

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from benchmark_clusters import Clusters
from benchmark_contexts import DIM, LAYER, save_words_in_context, words_in_context
from benchmark_peers import K
from benchmark_searchers import CORES, EXACT, SEARCHERS, Embstore, Rows, Searcher, Vectors
from benchmark_stores import Clustered, Workspace
from benchmark_timing import Contender, Point, Result, compare, installed, interleave

_RECALL = 0.99
_LARGE = 1_000_000  # items for which there is a goal
_FEWEST = 5  # queries in a round, however long they take
_ROWS = 100_000


def search(space: Workspace) -> list[Result]:
    """Search held-out vectors among ever more clustered ones, and compare the searches of most."""
    results: list[Result] = []
    held_out = Clusters(space.size.search_dim).held_out(space.size.queries)
    for n in space.size.growth:
        results = _search(space, space.clustered(n), held_out)
    return results


def contextual(space: Workspace) -> list[Result]:
    """Search words in other contexts than those that are stored: vectors of a language model."""
    n, n_queries = max(space.size.growth), space.size.queries
    made = space.indexed(f"contextual-{n}", n, DIM, lambda path: save_words_in_context(path, n))
    queries = next(words_in_context(n_queries, seed=1))[:n_queries]
    lines = _search(
        space, made, queries, f"{K} nearest of {n:,} words in contexts, MiniLM, layer {LAYER}"
    )
    space.points.clear()  # those are of clustered vectors
    return lines


def _search(
    space: Workspace, made: Clustered, queries: Vectors, what: str | None = None
) -> list[Result]:
    n, dim = made.vectors.shape
    nearest = exact(made.vectors, queries)
    unwanted = [kind for kind in SEARCHERS if kind.name in space.size.without]
    there = [
        kind
        for kind in SEARCHERS
        if kind not in unwanted and (kind is Embstore or installed(kind.package))
    ]
    left_out = left_out_of(there, n, space.size.slow)
    there = [kind for kind in there if kind not in left_out]
    searchers = {kind.name: kind(space, made) for kind in there}
    tuned = {name: _tune(searcher, queries, nearest) for name, searcher in searchers.items()}
    one_by_one = {
        name: _one_by_one(space, searcher, queries) for name, searcher in searchers.items()
    }
    single = interleave(one_by_one, space.size.builds)
    few = {
        name: queries[: max(_FEWEST, int(space.size.search_seconds / min(single[name])))]
        for name in searchers
    }
    batch = interleave(
        {name: _at_once(searcher, few[name]) for name, searcher in searchers.items()},
        space.size.builds,
    )
    for name in searchers:
        rounds = len(single[name])
        space.points += [
            Point("one query, one thread (p50)", name, n, min(single[name]), rounds),
            Point("a query of many, all cores", name, n, min(batch[name]), rounds),
        ]
        if (building := searchers[name].building) is not None:
            space.points.append(Point("building the index", name, n, building))
    return [
        *_lines(n, what or f"{K} nearest of {n:,} × {dim}", searchers, tuned, single, batch),
        *_missing([*there, *left_out, *unwanted]),
        *(
            Result(f"… to {kind.name}", "", f"left out of {n:,}: the same kind of graph")
            for kind in left_out
        ),
        *(Result(f"… to {kind.name}", "", "left out, as asked") for kind in unwanted),
    ]


def left_out_of(there: Sequence[type[Searcher]], n: int, slow: int) -> list[type[Searcher]]:
    """Return who does not take part among n items: of the two graphs in memory the one that is
    slower among fewer.
    """
    both = {"usearch", "hnswlib"} <= {kind.package for kind in there}
    return [kind for kind in there if both and n > slow and kind.package == "usearch"]


def _lines(
    n: int,
    what: str,
    searchers: Mapping[str, Searcher],
    tuned: Mapping[str, tuple[Any, float]],
    single: Mapping[str, list[float]],
    batch: Mapping[str, list[float]],
) -> list[Result]:
    """Return embstore's recall, and its times to those of the others."""
    recall = tuned["embstore"][1]
    goal = 1.0 if n >= _LARGE else None
    own = searchers["embstore"].how
    lines = [
        Result(
            f"{what}, in one process: recall of embstore's {own}",
            f"{recall:.4f}",
            "",
            recall,
            _RECALL,
            True,
        )
    ]
    for name, searcher in searchers.items():
        if name == "embstore":
            continue
        setting, its = tuned[name]
        how = searcher.how if setting is None else f"{searcher.how} {setting}"
        shown = f"to {name} ({how}, recall {its:.3f}{'' if its >= _RECALL else ': its best'})"
        bound = goal if name not in EXACT and its >= _RECALL else None
        lines += [
            compare(
                f"… p50 of one query a call, one thread, {shown}",
                single["embstore"],
                single[name],
                goal=bound,
                show=_microseconds,
            ),
            compare(
                f"… queries/s of {CORES} cores, {shown}",
                batch["embstore"],
                batch[name],
                goal=bound,
                faster=True,
                show=lambda seconds: f"{1 / seconds:,.0f}/s",
            ),
        ]
    return lines


def _missing(there: Sequence[type[Searcher]]) -> list[Result]:
    return [
        Result(f"… to {kind.name}", "", f"{kind.package} is not installed")
        for kind in SEARCHERS
        if kind not in there
    ]


def exact(vectors: Vectors, queries: Vectors) -> Rows:
    """Return the rows (n, K) that are nearest by cosine."""
    cosines = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(vectors), _ROWS):
        block = np.array(vectors[start : start + _ROWS])
        found = queries @ (block / np.linalg.norm(block, axis=1, keepdims=True)).T
        best = np.argpartition(-found, min(K, found.shape[1] - 1), axis=1)[:, :K]
        cosines = np.hstack([cosines, np.take_along_axis(found, best, 1)])
        rows = np.hstack([rows, best + start])
    return np.take_along_axis(rows, np.argsort(-cosines, axis=1)[:, :K], 1)


def recall_of(found: Rows, nearest: Rows) -> float:
    """Return the share of the nearest that was found."""
    return float(
        np.mean(
            [len({*mine} & {*true}) / len(true) for mine, true in zip(found, nearest, strict=True)]
        )
    )


def _tune(searcher: Searcher, queries: Vectors, nearest: Rows) -> tuple[Any, float]:
    """Use the first setting whose recall on these very queries is enough, else the last; return it
    and the recall.
    """
    for setting in searcher.settings:
        searcher.use(setting)
        few = len(queries) if searcher.how != "exact" else min(_FEWEST, len(queries))
        recall = recall_of(searcher.rows(searcher.search(queries[:few])), nearest[:few])
        if recall >= _RECALL:
            break
    return setting, recall


def _one_by_one(space: Workspace, searcher: Searcher, queries: Vectors) -> Contender:
    """Return the median seconds of a query when each is a call."""

    def run() -> float:
        seconds: list[float] = []
        with searcher.threads(1):
            stop = time.perf_counter() + space.size.search_seconds
            for row in range(len(queries)):
                began = time.perf_counter()
                searcher.search(queries[row : row + 1])
                seconds.append(time.perf_counter() - began)
                if began > stop and row >= _FEWEST:
                    break
        return median(seconds)

    return run


def _at_once(searcher: Searcher, queries: Vectors) -> Contender:
    """Return the seconds for a query when all are one call."""

    def run() -> float:
        with searcher.threads(CORES):
            began = time.perf_counter()
            searcher.search(queries)
            return (time.perf_counter() - began) / len(queries)

    return run


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1e6:,.0f} µs"
