"""Names in a store: what has a name of embstore's, what has none, and where alone a name becomes a path."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import DamagedError, StoreError
from embstore.storage import keys
from embstore.storage.files.names import Names
from embstore.storage.files.paths import StorePaths

HEX = "0123456789abcdef"
GOOD: list[tuple[Names, str, str]] = [
    (names.PARTS, f"part-{HEX}", f"part-{HEX}.parquet"),
    (names.CARDS, "gpt2.word.last", "gpt2.word.last.json"),
    (names.SPACES, "A_b-c.d", "space=A_b-c.d"),
    (names.DATASETS, "words_5000", "words_5000.parquet"),
    (names.INDEXES, "layer=07", "layer=07.faiss"),
    (names.INDEX_CARDS, "layer=123", "layer=123.json"),
    (names.ANSWERS, HEX * 2, f"{HEX * 2}.json"),
    (names.SHARD_LOCKS, "1-of-3", ".lock-shard-1-of-3"),
]
BAD = [
    "", ".", "..", "../../victim", "/etc/passwd", "a/b", "a\\b", "*", "a*", "[ab]", "?", ".hidden", "-a", "a\n",
    "a\x00", f"part-{HEX}\n", "é", "a b", "x" * 300, "space=a", "~",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "entry"), GOOD)
def test_a_name_and_its_path(kind, name, entry, tmp_path):
    assert kind.path(tmp_path, name) == tmp_path / entry
    assert kind.name(entry) == name


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, _, _ in GOOD for name in BAD]
    + [(names.PARTS, name) for name in ("part-0123", f"part-{HEX.upper()}", f"part-{HEX}0", f"Part-{HEX}", HEX)],
)
def test_no_other_name_becomes_a_path(kind, name, tmp_path):
    with pytest.raises(StoreError, match="cannot be a name in"):
        kind.path(tmp_path, name)
    assert kind.name(f"{kind.prefix}{name}{kind.suffix}") is None


def test_what_bears_a_name_and_is_no_file_is_damage(tmp_path):
    (tmp_path / "other").write_text("x")
    (tmp_path / "b.json").symlink_to(tmp_path / "other")
    (tmp_path / "*.json").symlink_to(tmp_path / "other")  # is no name
    with pytest.raises(DamagedError, match=r"b\.json is damaged: it is a symbolic link where a file should be"):
        names.CARDS.listed(tmp_path)
    (tmp_path / "b.json").unlink()
    (tmp_path / "a.json").mkdir()
    with pytest.raises(DamagedError, match=r"a\.json is damaged: it is a folder where a file should be"):
        names.CARDS.listed(tmp_path)
    (tmp_path / "a.json").rmdir()
    os.mkfifo(tmp_path / "c.json")
    with pytest.raises(DamagedError, match=r"c\.json is damaged: it is a named pipe where a file should be"):
        names.CARDS.listed(tmp_path)
    (tmp_path / "c.json").unlink()
    assert names.CARDS.listed(tmp_path) == {}


def test_every_file_of_a_store_has_a_name_of_the_store(make_store):
    made = make_store(n=20, unit="occurrence", texts=["the bank of the river"])
    made.store.query("partition", spaces=made.space, layers=0)
    contents = made.paths.contents()
    found = {path for path in made.root.resolve().rglob("*") if path.is_file()}
    assert set(contents.files) == found
    assert (contents.temporaries, contents.irregular, contents.foreign) == ([], [], [])


def test_what_is_not_of_the_store_is_named_and_never_touched(make_store):
    made = make_store(n=20)
    foreign = [made.paths.spaces / "*.removing", made.paths.spaces / "x y.json", made.paths.items / "notes.txt"]
    foreign += [made.paths.embeddings(made.space) / "part-1.parquet", made.root / "embeddings" / "space=.." / "a"]
    beside = [made.root / "README", made.root / ".DS_Store", made.paths.items / ".DS_Store"]
    for path in (*foreign, *beside):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    found = made.store.verify()
    foreign[-1] = foreign[-1].parent
    assert {problem.file for problem in found.problems} == {path.resolve() for path in foreign}
    assert all("it is not of the store" in problem.problem for problem in found.problems)
    made.store.repair()
    made.store.compact()
    made.store.index(kind="none")
    kept = [path for path in (*foreign, *beside) if path.is_file()]
    assert all(path.read_text() == "mine" for path in kept)
    made.store.remove(made.space)
    assert [path for path in kept if not path.exists()] == [made.paths.embeddings(made.space) / "part-1.parquet"]


def test_nested_stores_leave_each_other_alone(make_store):
    """One store in a folder of another: each removes its own temporaries, and no other's."""
    outer = make_store(n=20)
    inner = synthetic_store(outer.root / "inner", n=20)
    temporaries = []
    for made in (outer, inner):
        for folder in (made.root, made.paths.items, made.paths.embeddings(made.space)):
            temporaries.append(folder / ".123-0badcafe.tmp")
            temporaries[-1].write_bytes(b"at work")
    outer.store.compact()
    assert [path.exists() for path in temporaries] == [False] * 3 + [True] * 3
    assert outer.store.verify().ok
    assert Store(inner.root).verify().ok
    inner.store.compact()
    assert not any(path.exists() for path in temporaries)


# Modules in which names become paths, each with the reason.
_MAKERS = {
    "storage/remote/cache.py": "fixed names in the cache's folder, outside any store",
    "storage/remote/mirror.py": "fixed names, and paths that remote/manifest has checked by the grammar",
    "storage/remote/remote_store.py": "fixed names in the cache's folder, outside any store",
    "storage/files/names.py": "the grammar",
    "storage/files/paths.py": "the layout",
    "base/atomic.py": "temporary files, of numbers of its own",
    "query/cite.py": "a file of the package",
    "index/card.py": "a card is beside its index, whose path is given",
}
_SUSPECT = {"glob", "rglob", "iglob", "with_suffix", "with_name", "with_stem", "joinpath", "scandir", "listdir"}


def test_no_other_module_makes_paths_of_names():
    package = Path(names.__file__).parents[2]
    folders = ("base", "storage", "maintain", "index", "query", "build")
    modules = [*package.glob("*.py"), *(path for folder in folders for path in (package / folder).rglob("*.py"))]
    found = {}
    for path in modules:
        name = path.relative_to(package).as_posix()
        if lines := sorted(_makes_paths(ast.parse(path.read_text("utf-8")))):
            found[name] = lines
    assert found.pop("base/disk.py"), "the operations on files themselves"
    assert {name: lines for name, lines in found.items() if name not in _MAKERS} == {}
    assert set(_MAKERS) == set(found), "each exception is needed"


def _makes_paths(tree: ast.AST) -> Iterator[int]:
    """Yield the lines in which a text is appended to a path, or a folder is searched by a pattern."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SUSPECT:
            yield node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            right = node.right
            is_text = isinstance(right, ast.Constant) and isinstance(right.value, str)
            is_name = isinstance(right, ast.Attribute) and right.attr in ("name", "stem", "suffix")
            if is_text or is_name or isinstance(right, ast.JoinedStr):
                yield node.lineno


def test_a_store_may_be_reached_by_a_link(make_store, tmp_path):
    made = make_store(n=20)
    link = tmp_path / "link"
    link.symlink_to(made.root)
    assert Store(link).verify().ok
    assert StorePaths(link.resolve()).marker == made.paths.marker
    assert Store(link).query("norms", layers=0).rows
    assert Store(link).compact().rows


@pytest.mark.parametrize("command", ["info", "verify", "repair", "compact"])
def test_what_can_be_no_path_is_no_store(command):
    with pytest.raises(StoreError, match="can be no path of a store"):
        getattr(Store("a\0b"), command)()
