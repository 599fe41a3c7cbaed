"""The commands at each of whose operations on files a fault is tried, and what each must have made
in the end.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fault_figures import FAULTS, share
from fault_stores import (
    DIM,
    IMPORTED,
    LEFT_BEHIND,
    N_IMPORTED_LAYERS,
    TRUTH,
    WORDS,
    at_once,
    compact,
    copy,
    merge,
    naming,
    repair,
    stored_ids,
    words,
    write_vectors,
    wrong_answers,
)
from file_operations import watched
from kept_columns import write_columns
from real_builds import Whole, skipped
from store_damage import flip, the
from store_writing import SkippedText, write_skipped
from synthetic import synthetic_store
from tiny_checkpoint import columns, content, make_checkpoint, texts

from embstore import Store
from embstore.base.errors import NotStoredError, UnknownNameError
from embstore.base.space import Unit
from embstore.interop.formats import open_vectors
from embstore.interop.importing import ImportOptions, import_vectors
from embstore.interop.vector_file import ReadOptions
from embstore.storage.writer import write_dataset

SMALL, OTHER, FEW = WORDS[:6], WORDS[4:9], WORDS[:9]
SPACE, OCCURRENCES = "toy.word.last", "toy.occurrence.last"
ALL = FAULTS == "all"


def make_small(root):
    """Write a small store with files of all kinds."""
    made = words(root, SMALL, n_shards=2)
    TRUTH.add(
        synthetic_store(
            root, unit="occurrence", texts=["a bank closes"], dim=4, n_blocks=1, n_shards=1
        )
    )
    rows = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(len(SMALL))]}
    write_dataset(made.files, "ranks", "word list", Unit.WORD, rows)
    for part in (slice(0, 2), slice(2, 4)):
        _write_columns(made, part)
    write_skipped(
        root, [SkippedText("x" * 9, "skipped", "no tokens", made.space, 7, "words.txt:3")]
    )


def _write_columns(made, part):
    """Write a table of columns of some items."""
    freq = [item % 5 for item in made.ids[part].tolist()]
    write_columns(made, {"freq": freq, "pos": ["N"] * len(freq)}, part.start or 0)


def make_damaged(root):
    """Write the small store with a damaged file of each kind that a repair mends."""
    make_small(root)
    query(root)
    for kind in ("shard", "sums", "answer", "index"):
        flip(the(root, kind), bits=8)
    (root / LEFT_BEHIND).write_bytes(b"left")


def make_stores(folder):
    """Make what the commands begin with, and what they read."""
    make_checkpoint(folder / "tiny")
    (folder / "few.txt").write_text("\n".join(FEW[:5]))
    (folder / "more.txt").write_text("\n".join([*FEW, "", "far " * 90]))
    (folder / "nothing").mkdir()
    make_small(folder / "small")
    _write_columns(words(folder / "other", OTHER, n_shards=2), slice(1, 4))
    make_small(folder / "wide")
    _write_columns(words(folder / "wide", OTHER, n_shards=1), slice(1, 4))
    make_damaged(folder / "damaged")
    build_few(folder / "few")
    write_vectors(folder, FEW)


def build_few(root):
    _build(root, "few.txt")


def build(root):
    _build(root, "more.txt")


def build_shards(root):
    for spec in ("1/2", "2/2"):
        _build(root, "more.txt", shard=spec)


def _build(root, source, **options):
    Store(root).build(
        str(root.parent / source),
        models=f"tiny={root.parent / 'tiny'}",
        batch_tokens=256,
        shard_bytes=4 * 4 * 32 * 4,
        **options,
    )


def import_array(root):
    """Import the array into a space of several shards."""
    file = open_vectors(root.parent / "vectors.npy", None, ReadOptions(root.parent / "vectors.txt"))
    shard_bytes = len(FEW) * DIM * 4 * N_IMPORTED_LAYERS // 3
    import_vectors(root, [file], ImportOptions(IMPORTED, index="flat", shard_bytes=shard_bytes))


def index(root):
    Store(root).index(kind="hnsw")


def pull(root):
    Store(root).pull(root.parent / "wide")


def remove(root):
    for removed in ({"spaces": OCCURRENCES}, {"columns": "freq"}):
        with suppress(UnknownNameError):  # a removal before was finished
            Store(root).remove(**removed)


def remove_items(root):
    for removed in ({"items": SMALL[:2]}, {"where": "unit = 'occurrence' AND text = 'a'"}):
        with suppress(NotStoredError):  # a removal before was finished
            Store(root).remove(**removed)
    Store(root).index()  # which a removal that was killed has left to the next command


def query(root):
    assert len(Store(root).query("partition", layers="all")) == 2 * 3


def ask(root):
    """Ask what only reads."""
    store = Store(root)
    assert len(store.query("anisotropy", variant="centred", cache=False)) == 2 * 3
    assert len(store.neighbours(SMALL[0], spaces=SPACE, k=2)) == 2
    assert len(store.neighbours(SMALL[0], spaces=SPACE, k=2, exact=True)) == 2
    assert len(store.vectors(SPACE, 0)[0]) == len(SMALL)
    assert len(store.info()) == 2
    assert len(store.skipped()) == 1
    assert len(store.missing(["ranks"])) == 0
    assert len(store.sql("SELECT * FROM items").fetchall()) == len(SMALL) + 4
    assert store.cache_state("partition") is not None
    if left := [row for row in store.repair(dry_run=True).rows if row["action"] == "left"]:
        raise Refused(left[0]["detail"])
    assert store.compact(dry_run=True) is not None
    assert len(store.remove(SPACE, dry_run=True)) == 1


def verify(root):
    found = Store(root).verify()
    refused = [problem for problem in found.problems if not problem.is_damage]
    if refused:
        raise Refused(refused[0].problem)
    assert found.ok, found.problems


class Refused(Exception):
    """A check says that a file could not be read."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        run: carries it out; a second time it finds nothing to do, or goes on.
        begin: the store that it begins with.
        is_real: whether its store is built from a checkpoint.
        writes: whether it is for the one writer of a store.
    """

    run: Callable[[Path], None]
    begin: str = "small"
    is_real: bool = False
    writes: bool = True


COMMANDS = {
    "build new": Command(build, "nothing", is_real=True),
    "build more": Command(build, "few", is_real=True),
    "build --shard": Command(build_shards, "few", is_real=True),
    "import": Command(import_array),
    "index": Command(index),
    "compact": Command(compact),
    "merge": Command(merge),
    "pull": Command(pull),
    "remove": Command(remove),
    "remove --items": Command(remove_items),
    "repair": Command(repair, "damaged"),
    "query": Command(query, writes=False),
    "ask": Command(ask, writes=False),
    "verify": Command(verify, writes=False),
}


class Case:
    """A command and the stores around it.

    Args:
        name: of the command.
        stores: the folder with what :func:`make_stores` made.
        folder: where it is tried.
    """

    def __init__(self, name, stores, folder):
        self.command = COMMANDS[name]
        self.begin, self.root = stores / self.command.begin, folder / "store"
        self.is_repair = name == "repair"
        for beside in (
            "tiny",
            "few.txt",
            "more.txt",
            "other",
            "wide",
            "vectors.npy",
            "vectors.txt",
        ):
            (folder / beside).symlink_to(stores / beside)
        self.before = naming(lambda: stored_ids(self.begin)) or {}
        self.operations = self._operations()
        self.whole = Whole(
            folder / "whole",
            content(self.root),
            texts(self.root),
            skipped(self.root),
            is_exact=True,
        )
        left = {} if self.is_repair else stored_ids(self.root)
        self.kept = {space: ids & left.get(space, set()) for space, ids in self.before.items()}
        assert not [*self.root.rglob("*.tmp")]
        self.root.rename(self.whole.root)
        self.columns = [
            columns(root) for root in (self.begin, self.whole.root) if self._keeps_columns
        ]
        self.damaged_path = _below(self.whole.root / "damaged")

    def _operations(self):
        found = []
        self.start()
        with watched(lambda operation, path, _: found.append((operation, path)), self.root):
            self.command.run(self.root)
        return found

    def start(self):
        """Put the store there with which the command begins."""
        return copy(self.begin, self.root)

    def look(self):
        """Return how many items are lost, and what answers wrongly, after a fault."""
        if not any(self.root.glob("manifest/*.json")):
            return sum(map(len, self.kept.values())), []
        allowed = naming if self.is_repair else at_once
        after = allowed(lambda: stored_ids(self.root)) or {}
        lost = sum(len(ids - after.get(space, set())) for space, ids in self.kept.items())
        if self.command.is_real:
            return lost, self.whole.wrong_answers(self.root, len(after) % 4)
        if self._keeps_columns and allowed(lambda: columns(self.root)) not in (*self.columns, None):
            return lost, ["other columns"]
        moved = sorted(_below(self.root / "damaged") - self.damaged_path)
        return lost, [
            *wrong_answers(Store(self.root), allowed),
            *(f"{path} was moved" for path in moved),
        ]

    @property
    def _keeps_columns(self):
        """Whether the columns are what they were, or what the command makes of them, at every
        moment.
        """
        return not self.command.is_real and not self.is_repair

    def finish(self):
        """Run the command once more, and return how the store differs from what it should have
        made.
        """
        self.command.run(self.root)
        if self.is_repair:
            self.command.run(self.root)
        wrong = [
            f"{problem.file}: {problem.problem}" for problem in Store(self.root).verify().problems
        ]
        if self.command.writes:  # what this process could not remove is left to the next one
            wrong += [
                str(path)
                for path in self.root.rglob("*.tmp")
                if not path.name.startswith(f".{os.getpid()}-")
            ]
        if self.is_repair:
            return wrong
        if (
            stored_ids(self.root) != stored_ids(self.whole.root)
            or texts(self.root) != self.whole.texts
        ):
            wrong.append("other items")
        if self._keeps_columns and columns(self.root) != self.columns[1]:
            wrong.append("other columns")
        return wrong


def _below(folder):
    return (
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        if folder.exists()
        else set()
    )


def some(n, most):
    """Return the operations to try out of n, counted from 1, the last one among them.

    Args:
        n: Number of operations.
        most: Number of operations to try, evenly apart, unless ``EMBSTORE_TEST_FAULTS`` asks for
            others.
    """
    most = share(most)
    if FAULTS not in ("", "table"):
        return [*range(n, 0, -1 if ALL else -int(FAULTS))][::-1]
    return sorted({round(1 + (n - 1) * k / (most - 1)) for k in range(most)})
