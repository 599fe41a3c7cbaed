"""Similarity to people's scores: what the question costs beyond starting up."""

import sys
from pathlib import Path

import numpy as np
from benchmark_passes import words_of
from benchmark_start import process, program
from benchmark_stores import Workspace
from benchmark_timing import Result, interleave, milliseconds

from embstore import Store

_PAIRS, _WORDS = 3_500, 827  # of SimVerb-3500
_COLUMNS = ("one", "two", "score")
_BEYOND = 0.5
_START = "import typer, duckdb, faiss"


def people(space: Workspace) -> list[Result]:
    """Ask for the similarity to scores of as many pairs as SimVerb-3500 has, at all layers of
    MiniLM.

    A benchmark downloads nothing: words and scores are made up, what is read and computed is the
    same.
    """
    path, n_words = people_store(space)
    file = space.root / "pairs.csv"
    seconds = interleave(
        {
            "ours": process(
                ("query", "similarity", "--dataset", str(file), "--store", str(path)), space.root
            ),
            "start": program((sys.executable, "-c", _START), space.root),
        },
        space.size.starts,
    )
    ours, start = (min(seconds[name]) for name in ("ours", "start"))
    beyond = [mine - its for mine, its in zip(*seconds.values(), strict=True)]
    what = (
        f"similarity of {_PAIRS:,} pairs of {n_words} words, 7 layers, with intervals: seconds"
        f" beyond `{_START}`"
    )
    return [
        Result(
            what,
            milliseconds(ours),
            milliseconds(start),
            ours - start,
            _BEYOND,
            rounds=len(beyond),
            median_ratio=float(np.median(beyond)),
        )
    ]


def people_store(space: Workspace) -> tuple[Path, int]:
    """Return a store of the words of the pairs in MiniLM, with the pairs, and the number of
    words.
    """
    n_words = min(_WORDS, space.size.words)
    words = [item.text for item in words_of(f"words:{n_words}")]
    path = space.new("people")
    Store(path).build(_pairs(space.root / "pairs.csv", words), models="minilm")
    return path, n_words


def _pairs(file: Path, words: list[str]) -> Path:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(words), (_PAIRS, 2))
    scores = rng.uniform(0, 10, _PAIRS)
    lines = [
        f"{words[a]},{words[b]},{score:.2f}\n" for (a, b), score in zip(drawn, scores, strict=True)
    ]
    file.write_text("".join([",".join(_COLUMNS) + "\n", *lines]), "utf-8")
    return file
