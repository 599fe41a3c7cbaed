"""One question, one process, beside the same question to the peers; and how each cost grows with
the items.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmark_peers import commands_of, not_installed
from benchmark_start import embstore_command, output_of, process, program
from benchmark_stores import Clustered, Workspace, query
from benchmark_timing import Contender, Point, Result, compare, interleave, rate, timed

from embstore import Store

_GOALS = {"gensim": 0.4, "LanceDB": 0.3, "llm similar": 0.15}
_WORD = "w5"
_SMALL = 10_000


def oneshot(space: Workspace) -> list[Result]:
    """Ask for the neighbours of a word: whole processes, all of which scan every vector and print
    the same words.
    """
    n = space.size.short
    made = space.clustered(n)
    commands = commands_of(space, made, _WORD)
    answers = {name: _words(output_of(command, space.root)) for name, command in commands.items()}
    for name, words in answers.items():
        if words != answers["embstore"]:
            raise AssertionError(
                f"{name} finds other neighbours: {sorted(words ^ answers['embstore'])}"
            )
    seconds = interleave(
        {name: program(command, space.root) for name, command in commands.items()},
        space.size.one_shots,
        warmups=0,  # all have just answered
    )
    what = f"neighbours of a word among {n:,} × {space.size.search_dim}, one process each, to"
    return [
        *(
            compare(f"{what} {name}", seconds["embstore"], seconds[name], goal=_GOALS.get(name))
            for name in commands
            if name != "embstore"
        ),
        *(
            Result(f"{what} {peer.name}", "", f"{peer.package} is not installed")
            for peer in not_installed()
        ),
    ]


def growth(space: Workspace) -> list[Result]:
    """Measure each cost among ever more items."""
    made = {n: space.clustered(n) for n in space.size.growth}
    for n, each in made.items():
        steps = {"writing": each.seconds["writing"], "building the index": each.seconds["indexing"]}
        space.points += [Point(step, "embstore", n, seconds) for step, seconds in steps.items()]
    near = _grow(
        space,
        made,
        "neighbours, one process",
        lambda each: {
            name: program(command, space.root)
            for name, command in commands_of(space, each, _WORD).items()
        },
    )
    mean = _grow(
        space,
        made,
        "anisotropy, one process",
        lambda each: {
            "embstore": process(("query", "anisotropy", "--store", str(each.store)), space.root),
            "numpy": program(_numpy_anisotropy(each.file), space.root),
        },
    )
    _grow(space, made, "neighbours, open store", lambda each: {"embstore": _open_store(each.store)})
    read = _grow(
        space,
        made,
        "reading every vector",
        lambda each: {
            "embstore": query(each.store, "anisotropy", variant="centred"),
            "numpy.load": timed(lambda: np.load(each.file)),
        },
    )
    most, least = max(made), min(made)
    small = min(made, key=lambda n: abs(n - _SMALL))
    dim = space.size.search_dim
    return [
        compare(
            f"neighbours of a word among {most:,} × {dim}, to among {small:,}, one process each",
            near[most]["embstore"],
            near[small]["embstore"],
            goal=1.5,
        ),
        compare(
            f"anisotropy of {most:,} × {dim}, to that of {least:,}, one process each",
            mean[most]["embstore"],
            mean[least]["embstore"],
            goal=1.5,
        ),
        compare(
            f"centred anisotropy of {most:,} × {dim}, which reads all, to numpy.load of the same"
            " bytes",
            read[most]["embstore"],
            read[most]["numpy.load"],
            show=rate(4 * most * dim),
        ),
    ]


def _grow(
    space: Workspace,
    made: dict[int, Clustered],
    cost: str,
    contenders: Callable[[Clustered], dict[str, Contender]],
) -> dict[int, dict[str, list[float]]]:
    """Let all contenders at all sizes take turns, and keep their best times as points."""
    ours = {(n, name): run for n, each in made.items() for name, run in contenders(each).items()}
    labelled = {f"{n} {name}": run for (n, name), run in ours.items()}
    seconds = interleave(labelled, space.size.one_shots)
    found: dict[int, dict[str, list[float]]] = {n: {} for n in made}
    for n, name in ours:
        found[n][name] = seconds[f"{n} {name}"]
        space.points.append(Point(cost, name, n, min(found[n][name]), len(found[n][name])))
    return found


def _words(output: str) -> set[str]:
    """Return the words that were printed: of LanceDB and DuckDB the queried word too."""
    return {*re.findall(r"\bw\d+\b", output)} - {_WORD}


def _numpy_anisotropy(file: Path) -> tuple[str, ...]:
    script = (
        f"import numpy as np; x = np.load({str(file)!r}); u = x / np.linalg.norm(x, axis=1,"
        " keepdims=True); s = u.sum(0, dtype=float); n = len(x); print((s @ s - n) / (n * (n -"
        " 1)))"
    )
    return (embstore_command()[0], "-c", script)


def _open_store(path: Path) -> Contender:
    store = Store(path)
    return timed(lambda: store.neighbours(_WORD))
