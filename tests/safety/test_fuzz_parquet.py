"""The hand-written readers of Parquet's structs, pages and footers, given anything: values, or the documented error."""

import time
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from embstore.storage.files.paths import Shard
from embstore.storage.parquet import thrift
from embstore.storage.parquet.footer import is_footer_sound
from embstore.storage.parquet.reader import read_plain_table, read_values
from embstore.storage.transaction.manifest import committed_shards
from fuzzing import refusal, tries
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Synthetic, synthetic_store

from embstore.base import checksum
from embstore.base.errors import DamagedError
from embstore.storage.vectors import LayerVectors, shard_row_groups

pytestmark = pytest.mark.fault


KINDS = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15])
PIECES = st.one_of(st.binary(max_size=12), st.builds(lambda kind, n: bytes([n << 4 | kind]), KINDS, st.integers(0, 15)))


@dataclass(frozen=True)
class File:
    """A shard of a few vectors.

    Attributes:
        made: its store.
        shard: as the store lists it.
        data: its bytes.
        column: the chunk of vectors of its first row group.
        footer_at: where its footer begins.
    """

    made: Synthetic
    shard: Shard
    data: bytes
    column: SimpleNamespace
    footer_at: int


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    root = tmp_path_factory.mktemp("shard") / "store"
    made = synthetic_store(root, n=3, dim=2, n_blocks=1, top_form=None, n_shards=1, index=False)
    (shard,) = committed_shards(made.paths, made.space)
    data = shard.path.read_bytes()
    column = pq.read_metadata(shard.path).row_group(0).column(2)
    names = ("data_page_offset", "total_compressed_size", "num_values", "physical_type")
    chunk = SimpleNamespace(**{name: getattr(column, name) for name in names})
    return File(made, shard, data, chunk, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))


def test_structs(file, tally):
    """A struct that can be read is written so that it is read as the same."""
    counts = tally("fuzz: Parquet", "structs")
    footer = file.data[file.footer_at :]
    header = file.data[file.column.data_page_offset :][:60]

    @tries(850)
    @given(st.lists(PIECES, max_size=5).map(b"".join), st.integers(0, 8))
    def run(piece: bytes, length: int) -> None:
        places = [(whole, at) for whole in (header, footer) for at in range(0, len(whole), 1 + len(whole) // 40)]
        for data in (piece, piece * 40, *(whole[:at] + piece + whole[at + length :] for whole, at in places)):
            counts["faults"] += 1
            try:
                found, end = thrift.read(data)
            except (ValueError, IndexError, RecursionError):
                continue
            assert 0 < end <= len(data)
            if all(0 < number < 1 << 15 for number in found):
                assert thrift.read(thrift.write(found))[0] == found

    run()


def test_pages(file, tally):
    """What is read of altered pages is as many values as there should be, and is refused unless its CRC is right."""
    counts = tally("fuzz: Parquet", "pages")
    path = file.made.root / "altered.parquet"
    at, size = file.column.data_page_offset, file.column.total_compressed_size
    whole = read_values(file.shard.path, file.column)

    @tries(120)
    @given(PIECES, st.integers(0, 6))
    def run(piece: bytes, length: int) -> None:
        for place in range(at, at + min(size, 50)):
            path.write_bytes(file.data[:place] + piece + file.data[place + length :])
            counts["faults"] += 1
            try:
                values = read_values(path, file.column)
            except ValueError:
                continue
            assert values.shape == whole.shape

    run()


NUMBERS = st.one_of(st.integers(-5, 400), st.sampled_from([1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63)]))


def test_places_of_pages(file, tally):
    """A footer that says that pages are elsewhere, or hold more than memory does."""
    counts = tally("fuzz: Parquet", "places of pages")
    names = ("data_page_offset", "total_compressed_size", "num_values")

    @tries(1500)
    @given(
        NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["FLOAT", "INT64", "FIXED_LEN_BYTE_ARRAY", "BYTE_ARRAY", "INT96"])
    )
    def run(offset: int, size: int, count: int, kind: str) -> None:
        given_all = dict(zip(names, (offset, size, count), strict=True)) | {"physical_type": kind}
        for change in (given_all, *({name: given_all[name]} for name in given_all)):
            counts["faults"] += 1
            try:
                values = read_values(file.shard.path, SimpleNamespace(**(vars(file.column) | change)))
            except ValueError:
                continue
            assert values.nbytes <= len(file.data)

    run()


def sealed(data: bytes) -> bytes | None:
    """The bytes of a file whose footer has its own hash, as far as there is room for it."""
    footer_at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[max(0, footer_at) :]
    digits = checksum._find_hash(footer)
    if digits is None:
        return None
    blank = footer[:digits] + checksum.BLANK.encode() + footer[digits + 64 :]
    return data[: max(0, footer_at)] + checksum.with_checksum(blank)


def test_footers(file, tally):
    """A shard whose footer was altered and sealed again is damaged, or gives vectors of the right shape."""
    counts = tally("fuzz: Parquet", "footers")
    path = file.shard.path
    end = len(file.data) - 8

    @tries(40)
    @given(PIECES, st.integers(0, 2), st.integers(0, 12), st.booleans())
    def run(piece: bytes, longer: int, offset: int, is_sealed: bool) -> None:
        for at in range(file.footer_at + offset, end, 13):
            footer = file.data[file.footer_at : at] + piece + file.data[at + len(piece) - longer : end]
            data = file.data[: file.footer_at] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
            if (data := sealed(data) if is_sealed else data) is None:
                continue
            path.write_bytes(data)
            counts["faults"] += 1
            for layer in (0, 1):
                vectors = LayerVectors([file.shard], layer, 2)
                if (refused := refusal(vectors.gather, DamagedError)) is None:
                    ids, block = vectors.gather()
                    assert (vectors.count(), block.shape) == (len(ids), (len(ids), 2))
                else:
                    assert path.name in refused

    try:
        run()
    finally:
        path.write_bytes(file.data)


def test_tails(file, tally):
    """The length of a footer is any number."""
    counts = tally("fuzz: Parquet", "tails")
    path = file.shard.path

    @tries(400)
    @given(st.integers(0, (1 << 32) - 1) | st.integers(0, 2000), st.binary(max_size=9))
    def run(length: int, tail: bytes) -> None:
        for data in (file.data[:-8] + length.to_bytes(4, "little") + b"PAR1", file.data[: -len(tail)] + tail, tail):
            path.write_bytes(data)
            counts["faults"] += 1
            is_footer_sound(path)
            refused = refusal(lambda: shard_row_groups(file.shard), DamagedError)
            assert refused is None or path.name in refused

    try:
        run()
    finally:
        path.write_bytes(file.data)


BOMBS = {
    "a number without end": b"\x15" + b"\x80" * 4_000_000,
    "lists in lists": b"\x19" + b"\x19" * 1_000_000,
    "structs in structs": b"\x1c" * 1_000_000,
    "a list of 2⁶⁰": b"\x19\xfc" + b"\xff" * 8 + b"\x0f",
    "fields without end": b"\x15\x00" * 2_000_000,
    "a text of 2⁶⁰ bytes": b"\x18" + b"\xff" * 8 + b"\x0f",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_would_take_long_or_much_is_refused_at_once(file, bomb, tmp_path):
    path = tmp_path / "bomb.parquet"
    data = BOMBS[bomb] + bytes(64)
    path.write_bytes(data)
    column = SimpleNamespace(data_page_offset=0, total_compressed_size=len(data), num_values=3, physical_type="FLOAT")
    began = time.thread_time()
    with pytest.raises(ValueError, match=r"page|number of more than 64 bits|no type of Parquet"):
        read_values(path, column)
    assert time.thread_time() - began < 2


def test_plain_tables(file, tally):
    """A summary with any bytes in it gives columns no larger than itself, or is refused."""
    counts = tally("fuzz: Parquet", "plain tables")
    summary = file.shard.summary_path.read_bytes()

    @tries(30)
    @given(PIECES, st.integers(0, 2), st.integers(0, 12))
    def run(piece: bytes, longer: int, offset: int) -> None:
        for at in range(offset, len(summary), 13):
            data = summary[:at] + piece + summary[at + len(piece) - longer :]
            counts["faults"] += 1
            try:
                columns = read_plain_table(data)
            except ValueError:
                continue
            numbers = [values for values in columns.values() if isinstance(values, np.ndarray)]
            assert sum(values.nbytes for values in numbers) <= len(data)

    run()
