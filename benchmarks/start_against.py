"""Compare the CPU time of short commands with that of another commit, installed in an environment
of its own.

git worktree add ../base COMMIT && python -m venv ../base/.venv && ../base/.venv/bin/pip install -e
'../base[minilm]' python benchmarks/start_against.py ../base/.venv/bin/python STORE [--own STORE]
[--rounds 15] [--only neighbours]

STORE is one that both read, built by the older; with --own this version reads one that it has built
from the same sources. Each works on a copy, in processes that take turns. What counts is user and
system time, which other programs on the machine change less than the time that passes.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

_RUN = "import sys; sys.argv[0] = 'embstore'; from embstore_cli.entry import run; run()"
_SQL = (
    "import sys; from embstore import Store; store = Store(sys.argv[1]);"
    " print(store.sql(sys.argv[2]).fetchall()[:1])"
)
# For each of 20 runs in one process, without its start: the last line of what is printed is their
# CPU time in seconds.
_SQL_20 = (
    "import sys, time; from embstore import Store; store = Store(sys.argv[1]);"
    " store.sql(sys.argv[2]).fetchall(); began = time.process_time();"
    " [store.sql(sys.argv[2]).fetchall() for _ in range(20)]; print(time.process_time() - began)"
)
_STATEMENTS = {
    "count(*)": "SELECT count(*) FROM embeddings",
    "one layer": "SELECT item_id, vector FROM embeddings WHERE layer = 0",
    "sums": "SELECT layer, sum(vector[1]) FROM embeddings GROUP BY layer",
    "join": "SELECT text, layer FROM items JOIN embeddings USING (item_id) ORDER BY ALL LIMIT 10",
}


def commands(word: str) -> dict[str, tuple[str, ...]]:
    """Return the arguments of Python for each contender, in which ``{store}`` stands for its
    store.
    """
    store = ("--store", "{store}")
    lines = {
        "--help": ("--help",),
        "query anisotropy": ("query", "anisotropy", *store),
        "query norms": ("query", "norms", *store),
        f"neighbours {word}": ("neighbours", word, *store),
        f"neighbours {word} --where": ("neighbours", word, "--where", "length(text) = 3", *store),
    }
    of_sql = {
        f"Store.sql {name}, a process": ("-c", _SQL, "{store}", sql)
        for name, sql in _STATEMENTS.items()
    }
    of_sql |= {
        f"Store.sql {name}, again": ("-c", _SQL_20, "{store}", sql)
        for name, sql in _STATEMENTS.items()
    }
    return {name: ("-c", _RUN, *arguments) for name, arguments in lines.items()} | of_sql


def cpu_seconds(python: str, arguments: Sequence[str]) -> float:
    """Run Python once; return the CPU time of the process, or the one that it prints as a
    number.
    """
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    with tempfile.TemporaryFile() as printed, open(os.devnull, "w") as nowhere:
        # -P: Python must not find the package of the folder that it is started in.
        redirected = [
            (os.POSIX_SPAWN_DUP2, printed.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, nowhere.fileno(), 2),
        ]
        process = os.posix_spawn(
            python, [python, "-P", *arguments], environment, file_actions=redirected
        )
        _, status, usage = os.wait4(process, 0)
        if status:
            raise RuntimeError(
                f"{python} ended with {os.waitstatus_to_exitcode(status)}: {arguments}"
            )
        printed.seek(0)
        if arguments[1] == _SQL_20:
            return float(printed.read())
    return usage.ru_utime + usage.ru_stime


Line = tuple[str, list[float], list[float]]


def measure(
    base: str, store: Path, own: Path, rounds: int, word: str, only: str = ""
) -> Iterator[Line]:
    """Yield each command with its seconds in every round: the base's, and those of this environment
    on its own.
    """
    with tempfile.TemporaryDirectory(prefix="embstore-start-") as folder:
        stores = {
            python: f"{folder}/{name}" for name, python in (("base", base), ("new", sys.executable))
        }
        for python, copy in stores.items():
            shutil.copytree(store if python == base else own, copy)
        for name, arguments in commands(word).items():
            seconds: dict[str, list[float]] = {python: [] for python in stores}
            for number in range(rounds + 1 if only in name else 0):
                for python in (stores, reversed(stores))[number % 2]:
                    spent = cpu_seconds(
                        python, [part.replace("{store}", stores[python]) for part in arguments]
                    )
                    # The first round compiles modules and fills caches.
                    seconds[python] += [spent] if number else []
            if any(seconds.values()):
                yield name, seconds[base], seconds[sys.executable]


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(
        description="Compare the CPU time of short commands with that of another commit."
    )
    parser.add_argument("base", help="Python of the environment that has the other commit")
    parser.add_argument("store", type=Path, help="a store that both read")
    parser.add_argument(
        "--own", type=Path, metavar="STORE", help="the store that this version reads in its place"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--word", default="dog", help="a word of the store")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="commands whose name has this text"
    )
    options = parser.parse_args()
    print("| command | base, ms | new, ms | ratio of minima | of medians |\n|---|---|---|---|---|")
    for name, old, new in measure(
        options.base,
        options.store,
        options.own or options.store,
        options.rounds,
        options.word,
        options.only,
    ):
        ratios = f"{min(new) / min(old):.2f} | {median(new) / median(old):.2f}"
        print(f"| {name} | {min(old) * 1e3:.1f} | {min(new) * 1e3:.1f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
