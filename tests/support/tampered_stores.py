"""Stores as somebody might hand them over who means harm: each function tampers with one, and names the file.

Who tampers knows how the hashes inside are computed: documents and tables are sealed again.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from store_damage import KINDS

from embstore.base import atomic, checksum
from embstore.base.documents import MAX_BYTES
from embstore.storage.arrow import WRITER_OPTIONS

SPACE = "toy.word.last"
ALL = "all"
"""Every command refuses the store, but verify, which says what is wrong."""
MENDED = "mended"
"""Likewise, but repair and remove, which may do something about it."""
WRITERS = "writers"
"""Commands that write refuse it; others do not need the file, as one that is derived."""
NONE = "none"
"""Commands may go on without the file."""


@dataclass(frozen=True)
class Tampering:
    """One way to tamper.

    Attributes:
        name: of the case.
        tamper: does it to the store at a path, beside which there is a folder ``victim``; returns the file at fault.
        refused: which commands refuse the store; the others take no notice, as of what is derived.
        sound: whether verify has nothing to say: what is left is removed, or belongs to nobody.
    """

    name: str
    tamper: Callable[[Path], Path]
    refused: str = MENDED
    sound: bool = False


def seal(path: Path, document: dict[str, Any]) -> Path:
    """Write a document as embstore does, whatever it says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(atomic.document_bytes({key: kept for key, kept in document.items() if key != checksum.KEY}))
    return path


def the(root: Path, kind: str) -> Path:
    """The file of a kind that belongs to the space, or the first one."""
    found = sorted(root.glob(KINDS.get(kind, kind)))
    return next((path for path in found if SPACE in str(path)), found[0])


def changed(kind: str, /, **change: Any) -> Callable[[Path], Path]:
    """A document with other members, sealed again."""

    def tamper(root: Path) -> Path:
        path = the(root, kind)
        return seal(path, json.loads(path.read_bytes()) | change)

    return tamper


def manifest(root: Path, number: int = -1) -> Path:
    """The newest manifest."""
    return sorted(root.glob(KINDS["manifest"]))[number]


def naming(**change: Any) -> Callable[[Path], Path]:
    """The newest manifest with other members, sealed again."""

    def tamper(root: Path) -> Path:
        path = manifest(root)
        return seal(path, json.loads(path.read_bytes()) | change)

    return tamper


def written(kind: str, data: bytes) -> Callable[[Path], Path]:
    def tamper(root: Path) -> Path:
        path = the(root, kind)
        path.write_bytes(data)
        return path

    return tamper


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def victim_of(path: Path) -> Path:
    """The folder beside the store that nothing may touch."""
    return next(parent for parent in path.parents if (parent / "victim").is_dir()) / "victim"


def link_to_same(path: Path) -> None:
    same = victim_of(path) / f"same-{path.name}"
    path.rename(same)
    path.symlink_to(same)


def link_to_victim(path: Path) -> None:
    path.unlink()
    path.symlink_to(victim_of(path) / "precious")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(victim_of(path) / "made-by-the-store")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    path.unlink()
    with tempfile.TemporaryDirectory(prefix="s") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")  # an address has 100 characters at most
        os.rename(f"{folder}/s", path)


PLACES = (link_to_same, dangling, folder, pipe)


def in_place_of(path_of: Callable[[Path], Path], put: Callable[[Path], None]) -> Callable[[Path], Path]:
    """Something that is no file where one should be."""

    def tamper(root: Path) -> Path:
        path = path_of(root)
        if not path.exists():
            path.write_bytes(b"")
        put(path)
        return path

    return tamper


def folder_elsewhere(name: str) -> Callable[[Path], Path]:
    """A folder of the store moved out of it, with a link in its place."""

    def tamper(root: Path) -> Path:
        path = root / name
        target = root.parent / "victim" / path.name
        shutil.move(path, target)
        path.symlink_to(target, target_is_directory=True)
        return path

    return tamper


def temporary_link(root: Path) -> Path:
    """A temporary folder that is a link: the next writer removes the link alone."""
    path = root / "items" / ".1-0badcafe.tmp"
    path.symlink_to(root.parent / "victim", target_is_directory=True)
    return path


def card_of(name: str) -> Callable[[Path], Path]:
    """The card of a space by a name that leads out of the store."""

    def tamper(root: Path) -> Path:
        path = the(root, "card")
        return seal(path, json.loads(path.read_bytes()) | {"space": name})

    return tamper


def write_sealed(path: Path, table: pa.Table) -> None:
    """Write a small table with the right SHA-256."""
    sink = pa.BufferOutputStream()
    plain = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}  # as sums are written
    with pq.ParquetWriter(sink, table.schema, **plain) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({checksum.KEY: checksum.BLANK})
    path.write_bytes(checksum.with_checksum(sink.getvalue().to_pybytes()))


def sealed_table(kind: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], Path]:
    """A small table with other rows or columns, sealed again."""

    def tamper(root: Path) -> Path:
        path = the(root, kind)
        write_sealed(path, change(pq.read_table(path, partitioning=None)))
        return path

    return tamper


def with_numbers(name: str, kind: str) -> Callable[[pa.Table], pa.Table]:
    """Numbers in the place of one column."""

    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.get_field_index(name), name, pa.array([1] * len(table), kind))

    return change


def sealed_shard(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], Path]:
    """A shard with other rows or vectors, with all hashes that name it, and a summary that counts them."""

    def tamper(root: Path) -> Path:
        path = the(root, "shard")
        table = change(pq.read_table(path, partitioning=None))
        with tempfile.TemporaryFile() as file:
            with pq.ParquetWriter(file, table.schema, **WRITER_OPTIONS) as writer:
                for layer in table["layer"].unique().to_pylist():
                    writer.write_table(table.filter(pc.equal(table["layer"], layer)))
                writer.add_key_value_metadata({checksum.KEY: checksum.BLANK})
            file.seek(0)
            data = file.read()
        footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        data = data[:footer] + checksum.with_checksum(data[footer:])
        digest = hashlib.sha256(data).hexdigest()
        new = path.with_name(f"part-{digest[:16]}.parquet")
        path.unlink()
        new.write_bytes(data)
        summary = root / "summaries" / new.relative_to(root / "embeddings")
        counts = Counter(table["layer"].to_pylist())

        def described(rows: pa.Table) -> pa.Table:
            new_values = {"shard": new.stem, "sha256": digest, "bytes": len(data)}
            described_rows = [row | new_values | {"n": counts[row["layer"]]} for row in rows.to_pylist()]
            return pa.Table.from_pylist(described_rows, rows.schema)

        summary.with_name(path.name).rename(summary)
        sealed_table(str(summary.relative_to(root)), described)(root)
        document = json.loads(manifest(root).read_bytes())
        added = {key: value for key, value in document["added"].items() if path.name not in key}
        seal(manifest(root), document | {"added": added | {str(new.relative_to(root)): {"bytes": len(data)}}})
        for file in (*root.glob("merged/*"), *root.glob("indexes/*/*")):
            file.unlink()
        return new

    return tamper


def vectors_of(change: Callable[[list[list[float]]], Any], kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """Other vectors, of another type."""

    def changed_table(table: pa.Table) -> pa.Table:
        return table.set_column(2, "vector", pa.array(change(table["vector"].to_pylist()), kind))

    return changed_table


def without_last_item(table: pa.Table, layer: int) -> pa.Table:
    """One item less in a layer."""
    is_last = pc.equal(table["item_id"], pc.max(table["item_id"]))
    return table.filter(pc.invert(pc.and_(is_last, pc.equal(table["layer"], layer))))


_LIST = pa.list_(pa.field("element", pa.float32(), nullable=False))
_TEXTS = pa.list_(pa.string())
_VECTORS: dict[str, tuple[Callable[[list[list[float]]], Any], pa.DataType]] = {
    "infinite": (lambda rows: [[float("inf"), *row[1:]] for row in rows], _LIST),
    "NaN": (lambda rows: [[*row[:-1], float("nan")] for row in rows], _LIST),
    "strings": (lambda rows: [[str(value) for value in row] for row in rows], _TEXTS),
    "one string": (lambda rows: ["x"] * len(rows), pa.string()),
    "doubles": (lambda rows: rows, pa.list_(pa.float64())),
    "differing lengths": (lambda rows: [row[: 1 + n % len(row)] for n, row in enumerate(rows)], _LIST),
    "short": (lambda rows: [row[:-1] for row in rows], _LIST),
    "nulls": (lambda rows: [None] * len(rows), pa.list_(pa.float32())),
}
WRONG_SHARDS: dict[str, Callable[[Path], Path]] = {
    **{name: sealed_shard(vectors_of(change, kind)) for name, (change, kind) in _VECTORS.items()},
    "no layer 1": sealed_shard(lambda table: table.filter(pc.not_equal(table["layer"], 1))),
    "an item less in layer 1": sealed_shard(lambda table: without_last_item(table, 1)),
    "other items in layer 1": sealed_shard(
        lambda table: table.set_column(
            1, table.schema.field(1), pc.add(table["item_id"], pc.equal(table["layer"], 1).cast("int64"))
        )
    ),
}


_PART = f"part-{'0' * 16}.parquet"
_ITEMS = f"items/{_PART}"
_EVIL = ["part-../../victim/precious", "../../victim/precious", "part-0123456789abcdef/../../victim", "/victim", "*"]
_CARD_CHANGES: dict[str, dict[str, Any]] = {
    "dim -32": {"dim": -32}, "dim text": {"dim": "32"}, "dim null": {"dim": None}, "dim float": {"dim": 6.0},
    "dim huge": {"dim": 1 << 60}, "no layers": {"layers": []}, "layers twice": {"layers": [{"id": 0, "name": "0"}] * 2},
    "many layers": {"layers": [{"id": 1, "name": "1"}] * 20_000}, "no format": {"format": None},
    "format 99": {"format": 99}, "format text": {"format": "2"}, "n_blocks": {"n_blocks": -1}, "unit": {"unit": "x"},
    "template": {"template": "{text}{text}"}, "other member": {"evil": {"a": [1]}}, "long": {"model": "x" * 100_000},
}  # fmt: skip

TAMPERINGS: list[Tampering] = [
    *(Tampering(f"card: {name}", changed("card", **change)) for name, change in _CARD_CHANGES.items()),
    *(Tampering(f"card: space {name!r}", card_of(name)) for name in ("../../victim", "/victim", "a/b", "other", "*")),
    Tampering("card: nested", written("card", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
    Tampering("card: not JSON", written("card", b"\xff\xfe")),
    Tampering("card: large", written("card", b'{"a": "' + b"x" * MAX_BYTES["card"] + b'"}')),
    Tampering("marker: format text", changed("marker", format="1")),
    Tampering("marker: other member", changed("marker", more=1)),
    Tampering("marker: nested", written("marker", b"[" * 100_000)),
    *(
        Tampering(f"manifest: {place} {name!r}", naming(**{place: value}))
        for name in (
            *(f"items/{name}" for name in _EVIL), *_EVIL, "store.json", f"embeddings/space=../{_PART}", f"{_ITEMS}/",
        )
        for place, value in (("added", {name: {}}), ("removed", [name]), ("replaced", {_ITEMS: [name]}))
    ),
    *(
        Tampering(f"manifest: {name}", naming(**change))
        for name, change in {
            "number": {"number": 1 << 52}, "huge": {"number": 1 << 60}, "added": {"added": []}, "more": {"more": 1},
            "no parent": {"parent": None, "complete": False}, "bytes": {"added": {f"items/{_PART}": {"bytes": -1}}},
            "its own parent": {"parent": {"number": 1 << 52, "sha256": "0" * 64}}, "format 99": {"format": 99},
            "complete": {"complete": 1},
        }.items()
    ),
    Tampering("manifest: nested", lambda root: _written(manifest(root), b"[" * 100_000)),
    Tampering("manifest: not JSON", lambda root: _written(manifest(root), b"\xff\xfe")),
    *(Tampering(f"index card: shard {name!r}", changed("index card", shards=[name]), NONE) for name in _EVIL),
    Tampering("index card: kind", changed("index card", kind="hnsw"), NONE),
    Tampering("index card: dim", changed("index card", dim=-1), NONE),
    Tampering("index card: nested", written("index card", b"[" * 100_000), NONE),
    Tampering("answer: rows", changed("answer", rows=[{"n": {"a": 1}}]), NONE),
    Tampering("answer: nested", written("answer", b"[" * 100_000), NONE),
    *(
        Tampering(f"{kind}: {put.__name__}", in_place_of(lambda root, kind=kind: the(root, kind), put), refused)
        for kind, refused in {
            "marker": ALL, "manifest": ALL, "card": ALL, "items": ALL, "columns": ALL, "skipped": ALL, "dataset": ALL,
            "shard": ALL,
            "summary": WRITERS, "merged summary": WRITERS, "index": WRITERS, "index card": WRITERS, "answer": WRITERS,
        }.items()
        for put in (*PLACES, *((link_to_victim, unix_socket) if kind == "card" else ()))
    ),
    *(
        Tampering(f"{name}: {put.__name__}", in_place_of(lambda root, name=name: root / name, put), refused)
        for name, refused in {
            ".lock": WRITERS,
            ".lock-texts": WRITERS, ".lock-holder.json": WRITERS, ".lock-shard-1-of-2": WRITERS,
            ".lock-shard-1-of-2-holder.json": WRITERS,
        }.items()
        for put in (link_to_victim, dangling, pipe)
    ),
    *(
        Tampering(f"{name}: elsewhere", folder_elsewhere(name), ALL)
        for name in (
            "manifests", "items", "columns", "skipped", "datasets", "spaces", "merged", "answers", "embeddings",
            "summaries", "indexes", "maps", "damaged", f"maps/space={SPACE}",
            f"embeddings/space={SPACE}", f"summaries/space={SPACE}", f"indexes/space={SPACE}",
        )
    ),
    Tampering("damaged/items: elsewhere", folder_elsewhere("damaged/items"), WRITERS),
    Tampering("a temporary link", temporary_link, NONE, sound=True),
    Tampering("summary: other columns", sealed_table("summary", lambda table: table.select(["layer"])), NONE),
    Tampering("summary: no rows", sealed_table("summary", lambda table: table.slice(0, 0)), NONE),
    Tampering("merged summary: other columns", sealed_table("merged summary", lambda table: table.select([1])), NONE,
              sound=True),
    Tampering("dataset: other columns", sealed_table("dataset", lambda table: table.select([1])), NONE),
    *(
        Tampering(f"dataset: {name} of another type", sealed_table("dataset", with_numbers(name, kind)), NONE)
        for name, kind in (("text", "int64"), ("item_id", "float64"), ("unit", "int64"))
    ),
]  # fmt: skip
