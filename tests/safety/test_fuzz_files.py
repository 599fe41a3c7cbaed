"""Shards, tables, sums and maps with any bytes in them, whatever the manifest says: values, or the
documented error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from fuzzing import refusal, tries
from hypothesis import given
from hypothesis import strategies as st
from store_damage import full_store, the

from embstore.base.errors import DamagedError
from embstore.storage import maps, sums, tables
from embstore.storage.cache import StoredFile
from embstore.storage.vectors import LayerVectors, Shard

pytestmark = pytest.mark.fault

_PIECES = st.binary(max_size=12) | st.integers(0, 1 << 64).map(
    lambda number: number.to_bytes(9, "little")
)
_NUMBERS = st.integers(-5, 4000) | st.sampled_from(
    [1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63)]
)


@dataclass(frozen=True)
class Case:
    """A kind of file.

    Attributes:
        file: A file, as the manifest names it.
        data: Its bytes.
        read: Function that reads it as embstore does, and checks what it gets.
    """

    file: StoredFile
    data: bytes
    read: Callable[[StoredFile], None]


def _read_shard(card, file):
    vectors = LayerVectors([Shard(file, card.dim, card.dtype)], card.dim)
    ids, block = vectors.gather()
    assert block.shape == (len(ids), card.dim)
    assert np.isfinite(block).all()
    assert (np.diff(ids) > 0).all()


def _read_sums(card, file):
    found = sums.read(file, card.layers.ids, card.dim)
    assert [*found] == [*card.layers.ids]
    assert all(summary.total.shape == (card.dim,) for summary in found.values())


def _read_map(file):
    found = maps.read_map(file.files.root, file.path)
    assert found.positions.shape == (len(found.ids), 2)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    made = full_store(tmp_path_factory.mktemp("files") / "store")
    named = made.files.manifest().files
    reads = {
        "shard": lambda file: _read_shard(made.card, file),
        "sums": lambda file: _read_sums(made.card, file),
        "items": tables.read_unchecked,
        "columns": tables.read_unchecked,
        "skipped": tables.read_unchecked,
        "dataset": tables.read_unchecked,
        "map": _read_map,
    }
    found = {}
    for kind, read in reads.items():
        path = the(made.root, kind)
        key = path.relative_to(made.root).as_posix()
        found[kind] = Case(made.files.file(key, named.get(key, {})), path.read_bytes(), read)
    return found


KINDS = ["shard", "sums", "items", "columns", "skipped", "dataset", "map"]


def _try(case, data, **facts):
    """Read a file with other bytes, whose size the manifest states, and maybe other facts."""
    path = case.file.path
    path.unlink()  # a shard that was mapped keeps its own bytes
    path.write_bytes(data)
    entry = {**case.file.entry, "bytes": len(data), **facts}
    refused = refusal(lambda: case.read(case.file.files.file(case.file.key, entry)), DamagedError)
    assert refused is None or (path.name in refused and len(refused) < 2000)


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_in_any_place(cases, kind, tally):
    case, counts = cases[kind], tally("fuzz: bytes in a file", kind)

    @tries(60)
    @given(_PIECES, st.integers(0, 9), st.integers(0, 30))
    def run(piece, length, offset):
        for place in range(offset, len(case.data), 31):
            _try(case, case.data[:place] + piece + case.data[place + length :])
            counts["faults"] += 1

    try:
        run()
    finally:
        case.file.path.write_bytes(case.data)


@pytest.mark.parametrize("kind", KINDS)
def test_any_end(cases, kind, tally):
    case, counts = cases[kind], tally("fuzz: end of a file", kind)

    @tries(150)
    @given(st.integers(0, 1 << 32), st.binary(max_size=9), st.integers(0, 4000))
    def run(length, tail, cut):
        footer = (length % (1 << 32)).to_bytes(4, "little") + b"PAR1"
        for data in (
            case.data[:-8] + footer,
            case.data[: -len(tail)] + tail,
            case.data[:cut],
            tail,
            b"",
        ):
            _try(case, data)
            counts["faults"] += 1

    try:
        run()
    finally:
        case.file.path.write_bytes(case.data)


def test_any_facts_of_a_shard(cases, tally):
    """Numbers in the manifest that are none of the file: no memory that was not written is ever
    read.
    """
    case, counts = cases["shard"], tally("fuzz: facts of a file", "shard")
    entry = case.file.entry

    @tries(1500)
    @given(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS)
    def run(n, first, ids_at, values_at):
        # As the schema of a manifest has it.
        n, ids_at, values_at = (abs(n), abs(ids_at), abs(values_at))
        given_all = {"n": n, "first": first, "last": first + n, "offsets": [ids_at, values_at]}
        _, at = entry["offsets"]
        for facts in (
            given_all,
            *({name: given_all[name]} for name in given_all),
            {"offsets": [ids_at, at]},
        ):
            _try(case, case.data, **facts)
            counts["faults"] += 1

    run()
