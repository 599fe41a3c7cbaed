"""Stores as somebody might hand them over who means harm: each function tampers with one, and names
the file.

Who tampers knows how hashes are computed: a file that was altered gets its name and its entry in
the manifest anew, and the manifest its own hash.
"""

import io
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from store_damage import the

from embstore.base import atomic, checksum
from embstore.base.documents import MAX_BYTES
from embstore.storage import keys
from embstore.storage.vectors import items_with, offsets_of, write_shard

SPACE = "toy.word.last"
EVERY = ("every",)
"""All commands that read the store refuse it."""
OF_SPACES = (
    "info",
    "anisotropy",
    "neighbours",
    "export",
    "push",
    "merge from",
    "build",
    "index",
    "compact",
)
"""Commands that read the cards of spaces."""


@dataclass(frozen=True)
class Tampering:
    """One way to tamper.

    Attributes:
        name: Name of the case.
        tamper: Function that does it to a store, beside which there is a folder ``victim``, and
            returns the file.
        refusing: Commands that must refuse the store, as they read the file.
        sound: Whether verify has nothing to say: what is left belongs to nobody.
        hidden: Whether verify finds nothing, since the file has its right hash, or is derived.
    """

    name: str
    tamper: Callable[[Path], Path]
    refusing: tuple[str, ...] = ()
    sound: bool = False
    hidden: bool = False


def seal(path, document):
    """Write a document as embstore does, whatever it says."""
    path.write_bytes(
        atomic.document_bytes({key: kept for key, kept in document.items() if key != checksum.KEY})
    )
    return path


def manifest_with(**change):
    """Give the newest manifest other members."""

    def tamper(root):
        path = the(root, "manifest")
        return seal(path, json.loads(path.read_bytes()) | change)

    return tamper


def naming(key):
    """Let the newest manifest name another file."""

    def tamper(root):
        path = the(root, "manifest")
        document = json.loads(path.read_bytes())
        document["files"][key] = {"bytes": 8, "sha256": sha256(b"precious").hexdigest(), "n": 1}
        return seal(path, document)

    return tamper


def put(root, old, data, **facts):
    """Put a file in place of another one, with everything that names it."""
    path, digest = the(root, "manifest"), sha256(data).hexdigest()
    document = json.loads(path.read_bytes())
    key = old.relative_to(root).as_posix()
    parts = keys.parse(key)
    new = keys.make(parts.kind, digest, name=parts.name, layer=parts.layer)
    entry = document["files"].pop(key)
    document["files"][new] = entry | {"bytes": len(data), "sha256": digest} | facts
    old.unlink()
    (root / new).write_bytes(data)
    seal(path, document)
    return root / new


def written(kind, data, **facts):
    """Give a file other bytes."""

    def tamper(root):
        path = the(root, kind)
        if kind in ("manifest", "answer", "map"):
            path.write_bytes(data)
            return path
        return put(root, path, data, **facts)

    return tamper


def document_with(kind, **change):
    """Give a card or an answer other members."""

    def tamper(root):
        path = the(root, kind)
        document = json.loads(path.read_bytes()) | change
        if kind == "card":  # whose hash is in the manifest alone
            return written(kind, json.dumps(document).encode())(root)
        return seal(path, document)

    return tamper


def entry_with(kind, **change):
    """Let the manifest say something else of a file."""

    def tamper(root):
        path = the(root, kind)
        return put(root, path, path.read_bytes(), **change)

    return tamper


def index_with(**change):
    """Let the manifest state other facts of an index."""

    def tamper(root):
        path = the(root, "index")
        document = json.loads(the(root, "manifest").read_bytes())
        facts = document["files"][path.relative_to(root).as_posix()]["index"]
        return put(root, path, path.read_bytes(), index=facts | change)

    return tamper


def table_with(kind, change, **facts):
    """Give a table other rows or columns."""

    def tamper(root):
        path = the(root, kind)
        table, sink = change(pq.ParquetFile(path).read()), io.BytesIO()
        pq.write_table(table, sink)
        return written(kind, sink.getvalue(), **{"n": len(table), **facts})(root)

    return tamper


def column(name, values, kind):
    """Return a change that puts other values in place of a column."""

    def change(table):
        place = table.schema.get_field_index(name)
        array = pa.array(
            [values(row) for row in range(len(table))], pa.binary() if kind == pa.string() else kind
        )
        field = table.schema.field(place).with_type(kind)
        return table.set_column(place, field, array.view(kind))

    return change


def shard_with(change):
    """Give a shard other ids (n,) and vectors (n, dim), with the facts that a writer would state of
    them.
    """

    def tamper(root):
        path = the(root, "shard")
        table = pq.ParquetFile(path).read()
        vectors = np.array(table["vector"].to_pylist(), np.float32)
        ids, vectors = change(table["item_id"].to_numpy().copy(), vectors)
        with tempfile.TemporaryDirectory() as folder:
            facts = write_shard(Path(folder, "shard"), ids, vectors)
            data = Path(folder, "shard").read_bytes()
        return put(root, path, data, **facts)

    return tamper


def shard_of(vectors, kind):
    """Give a shard vectors of another type."""

    def tamper(root):
        path, sink = the(root, "shard"), io.BytesIO()
        table = pq.ParquetFile(path).read()
        table = table.set_column(1, "vector", pa.array(vectors(table["vector"].to_pylist()), kind))
        pq.write_table(table, sink, compression="NONE", use_dictionary=False)
        ids = table["item_id"].to_numpy()
        metadata = pq.read_metadata(io.BytesIO(sink.getvalue()))
        facts = items_with(ids).facts | {"offsets": offsets_of(metadata, ids.nbytes, 0)}
        return put(root, path, sink.getvalue(), **facts)

    return tamper


class Harm:
    """What a pickle runs when it is read."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def sums_with(change, *, pickled=False):
    """Give a file of sums other arrays."""

    def tamper(root):
        path, sink = the(root, "sums"), io.BytesIO()
        with np.load(path) as arrays:
            found = dict(arrays)
        change(found)
        np.savez(sink, allow_pickle=pickled, **found)
        return put(root, path, sink.getvalue())

    return tamper


def victim_of(path):
    """The folder beside the store that nothing may touch."""
    return next(parent for parent in path.parents if (parent / "victim").is_dir()) / "victim"


def link_to_same(path):
    same = victim_of(path) / f"same-{path.name}"
    path.rename(same)
    path.symlink_to(same)


def link_to_victim(path):
    path.unlink(missing_ok=True)
    path.symlink_to(victim_of(path) / "precious")


def dangling(path):
    path.unlink(missing_ok=True)
    path.symlink_to(victim_of(path) / "made-by-the-store")


def folder(path):
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def unix_socket(path):
    path.unlink()
    with tempfile.TemporaryDirectory(prefix="s") as place, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{place}/s")  # an address has 100 characters at most
        os.rename(f"{place}/s", path)


PLACES = (link_to_same, dangling, folder, pipe)


def in_place_of(kind, put_there):
    """Put something that is no file where one should be."""

    def tamper(root):
        path = root / kind if kind.startswith(".") else the(root, kind)
        put_there(path)
        return path

    return tamper


def folder_elsewhere(name):
    """Move a folder out of the store, and put a link in its place."""

    def tamper(root):
        path = root / name
        target = root.parent / "victim" / path.name
        shutil.move(path, target)
        path.symlink_to(target, target_is_directory=True)
        return path

    return tamper


def temporary_link(root):
    """Put a link in place of a temporary folder of a dead process: the next writer removes the link
    alone.
    """
    path = root / f".{(1 << 22) + 1}-{atomic._machine()}0badcafe.tmp"
    path.symlink_to(root.parent / "victim", target_is_directory=True)
    return path


def large_manifest(root):
    path = the(root, "manifest")
    os.truncate(path, MAX_BYTES["manifest"] + 1)
    return path


_HASH = "0" * 32
_EVIL_KEYS = (
    "../victim/precious",
    "items/../../victim/precious",
    "/etc/passwd",
    f"vectors/space=../layer=00/{_HASH}.parquet",
    f"items/{_HASH}.parquet\n",
    f"items//{_HASH}.parquet",
    "items/*.parquet",
    "store.json",
    f"derived/answers/{_HASH}.json",
    f"damaged/items/{_HASH}.parquet",
    "manifest/00000000000000009999.json",
    f"spaces/..-{_HASH}.json",
)
_CARD_CHANGES = {
    "dim -32": {"dim": -32},
    "dim text": {"dim": "32"},
    "dim float": {"dim": 6.0},
    "dim huge": {"dim": 1 << 60},
    "no layers": {"layers": []},
    "layers twice": {"layers": [{"id": 0, "name": "0"}] * 2},
    "many layers": {"layers": [{"id": 1, "name": "1"}] * 20_000},
    "format 99": {"format": 99},
    "no format": {"format": None},
    "n_blocks": {"n_blocks": -1},
    "unit": {"unit": "x"},
    "template": {"template": "{text}{text}"},
    "other member": {"evil": {"a": [1]}},
    "long": {"model": "x" * 100_000},
}
_SHARDS = {
    "float16": (shard_with(lambda ids, rows: (ids, rows.astype(np.float16))), ("exact",)),
    "wider": (shard_with(lambda ids, rows: (ids, np.hstack([rows, rows]))), ("exact",)),
    "narrower": (shard_with(lambda ids, rows: (ids, rows[:, :-1])), ("exact",)),
    "fewer items": (shard_with(lambda ids, rows: (ids[:-1], rows[:-1])), ("exact", "partition")),
    "other items": (shard_with(lambda ids, rows: (ids + 1, rows)), ("exact", "partition")),
    "ids twice": (
        shard_with(lambda ids, rows: (np.repeat(ids[::2], 2)[: len(ids)], rows)),
        ("exact",),
    ),
    "ids descending": (shard_with(lambda ids, rows: (ids[::-1].copy(), rows)), ("export",)),
    "NaN": (shard_with(lambda ids, rows: (ids, rows * np.nan)), ("exact", "index")),
    "infinite": (shard_with(lambda ids, rows: (ids, rows + np.inf)), ("exact", "index")),
    "strings": (shard_of(lambda rows: ["x" * 9 for _ in rows], pa.string()), ("exact",)),
    "doubles": (shard_of(lambda rows: rows, pa.list_(pa.float64())), ("exact",)),
    "differing lengths": (
        shard_of(lambda rows: [row[: n % 3] for n, row in enumerate(rows)], pa.list_(pa.float32())),
        ("exact",),
    ),
    "nulls": (shard_of(lambda rows: [None for _ in rows], pa.list_(pa.float32())), ("exact",)),
    "n": (entry_with("shard", n=1 << 20), ()),
    "offsets": (entry_with("shard", offsets=[1 << 52, 1 << 52]), ("exact",)),
    "overlapping offsets": (entry_with("shard", offsets=[4, 4]), ("exact",)),
    "range": (entry_with("shard", first=0, last=0), ("export",)),
    "no facts": (entry_with("shard", bytes=0), ("exact",)),
}


def _no_numbers(arrays):
    arrays["total"] = arrays["total"].astype(str)


def _harmful(arrays):
    arrays["total"] = np.array([Harm()] * len(arrays["layer"]), object)


_SUMS = {
    "a pickle": sums_with(_harmful, pickled=True),
    "no numbers": sums_with(_no_numbers),
    "other layers": sums_with(lambda arrays: arrays.update(layer=arrays["layer"] + 1)),
    "another shape": sums_with(lambda arrays: arrays.update(total=arrays["total"][:, :2])),
    "a column less": sums_with(lambda arrays: arrays.pop("unit_total")),
    "no npz": written("sums", b"PK\x05\x06" + bytes(40)),
}
_BAD_TEXT = column("text", lambda row: b"\xff\xfe", pa.string())
_TABLES = {
    "no UTF-8": ("items", _BAD_TEXT, ("where",)),
    "texts as numbers": ("items", column("text", lambda row: row, pa.int64()), ("where",)),
    "ids as floats": ("items", column("item_id", float, pa.float64()), ("where",)),
    "other columns": ("items", lambda table: table.select(["item_id"]), ("where",)),
    "a unit that is none": ("items", column("unit", lambda row: b"planet", pa.string()), ()),
    "ids twice": ("items", lambda table: pa.concat_tables([table, table]), ()),
    "dataset no UTF-8": ("dataset", _BAD_TEXT, ("missing",)),
    "dataset other columns": (
        "dataset",
        lambda table: table.select(["unit", "text"]),
        ("missing",),
    ),
    "dataset unit": ("dataset", column("unit", lambda row: row, pa.int64()), ("missing",)),
    "dataset ids": ("dataset", column("item_id", lambda row: row, pa.float64()), ("missing",)),
    "skipped no UTF-8": ("skipped", _BAD_TEXT, ("info --skipped",)),
    "skipped other columns": ("skipped", lambda table: table.select(["text"]), ("info --skipped",)),
    "columns of another type": ("columns", column("freq", float, pa.float64()), ("columns",)),
    "columns no UTF-8": ("columns", column("note", lambda row: b"\xff", pa.string()), ()),
}
_READ_BY = {
    "manifest": EVERY, "card": OF_SPACES, "items": ("where",), "columns": ("columns",),
    "skipped": ("info --skipped",),
    "dataset": ("missing",), "shard": ("exact", "export"), "sums": ("anisotropy",), "index": (),
    "answer": (),
    "map": (),
}  # fmt: skip

TAMPERINGS = [
    *(Tampering(f"manifest: {key!r}", naming(key), EVERY) for key in _EVIL_KEYS),
    *(
        Tampering(f"manifest: {name}", tamper, EVERY)
        for name, tamper in {
            "another number": manifest_with(number=1),
            "a huge number": manifest_with(number=1 << 60),
            "files as a list": manifest_with(files=[]),
            "more": manifest_with(more=1),
            "format 99": manifest_with(format=99),
            "format 3": manifest_with(format=3),
            "no files": manifest_with(files=None),
            "large": large_manifest,
            "255 deep": written("manifest", b'{"a":' * 255 + b"1" + b"}" * 255),
            "nested": written("manifest", b"[" * 100_000),
            "not JSON": written("manifest", b"\xff\xfe"),
        }.items()
    ),
    *(
        Tampering(f"card: {name}", document_with("card", **change), OF_SPACES)
        for name, change in _CARD_CHANGES.items()
    ),
    *(
        Tampering(f"card: space {name!r}", document_with("card", space=name), OF_SPACES)
        for name in ("../../victim", "/victim", "a/b", "other", "*")
    ),
    Tampering("card: 255 deep", written("card", b'{"a":' * 255 + b"1" + b"}" * 255), OF_SPACES),
    Tampering(
        "card: nested", written("card", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), OF_SPACES
    ),
    Tampering("card: not JSON", written("card", b"\xff\xfe"), OF_SPACES),
    Tampering(
        "card: large", written("card", b'{"a": "' + b"x" * MAX_BYTES["card"] + b'"}'), OF_SPACES
    ),
    *(
        Tampering(f"shard: {name}", tamper, refusing, hidden=name != "no facts")
        for name, (tamper, refusing) in _SHARDS.items()
    ),
    *(
        Tampering(f"sums: {name}", tamper, ("anisotropy",), hidden=True)
        for name, tamper in _SUMS.items()
    ),
    *(
        Tampering(f"table: {name}", table_with(kind, change), refusing, hidden=True)
        for name, (kind, change, refusing) in _TABLES.items()
    ),
    *(
        Tampering(name, tamper, hidden=True)
        for name, tamper in {
            "index: no index": written("index", b"IxFl" + bytes(60)),
            "index: dim": index_with(dim=1 << 20),
            "index: zero vectors": index_with(n_zero=1 << 40),
            "answer: rows": document_with("answer", rows=[{"n": {"a": 1}}]),
            "answer: nested": written("answer", b"[" * 100_000),
            "map: no table": written("map", b"PAR1" + bytes(60)),
        }.items()
    ),
    *(
        Tampering(f"{kind}: {put_there.__name__}", in_place_of(kind, put_there), refusing)
        for kind, refusing in _READ_BY.items()
        for put_there in (*PLACES, *((link_to_victim, unix_socket) if kind == "card" else ()))
    ),
    *(
        Tampering(f"{name}: {put_there.__name__}", in_place_of(name, put_there), sound=True)
        for name in (".lock", ".lock-commit")
        for put_there in (link_to_victim, dangling, pipe)
    ),
    *(
        Tampering(f"{name}: elsewhere", folder_elsewhere(name), refusing)
        for name, refusing in {
            "manifest": EVERY,
            "items": ("where",),
            "columns": ("columns",),
            "skipped": ("info --skipped",),
            "datasets": ("missing",),
            "spaces": OF_SPACES,
            "vectors": ("exact",),
            f"vectors/space={SPACE}": ("exact",),
            f"vectors/space={SPACE}/layer=00": ("exact",),
            "sums": ("anisotropy",),
            "indexes": (),
            "derived": ("remove",),
            "derived/answers": (),
            "derived/maps": ("remove",),
            f"derived/maps/space={SPACE}": ("remove",),
            "damaged": (),
            "damaged/items": (),
        }.items()
    ),
    Tampering("a temporary link", temporary_link, sound=True),
]
