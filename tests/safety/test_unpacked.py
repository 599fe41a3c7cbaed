"""Small tables that unpack to gigabytes are refused before memory is made for them, and ordinary ones never are."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bombs import claiming, items_table, naming_groups_often, put_part, put_sealed, skipped_table, with_footer, written
from tampered_stores import seal, the

from embstore import Store
from embstore.base.errors import DamagedError, UsageError
from embstore.storage.files import unpacked
from embstore.storage.files.tables import ITEMS_SCHEMA, stage_part
from embstore.storage.files.unpacked import VARIABLE, check_unpacked, unpacked_problem

pytestmark = pytest.mark.fault

MIB = 1 << 20
_LARGE = 8 << 30

# Many commands in one process, whose memory is limited: of each its exit code and what it prints.
_LIMITED = """
import json, resource, sys
from typer.testing import CliRunner
from embstore_cli.main import app
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for arguments in json.load(sys.stdin):
    result = CliRunner().invoke(app, arguments)
    known = result.exception is None or isinstance(result.exception, SystemExit)
    print(json.dumps([result.exit_code, result.output if known else repr(result.exception)]))
"""


def limited(commands: Sequence[Sequence[str | Path]]) -> list[tuple[int, str]]:
    """Run commands where 4 GiB can be addressed; of each the exit code and the output, by words."""
    given = json.dumps([[str(argument) for argument in arguments] for arguments in commands])
    done = subprocess.run([sys.executable, "-c", _LIMITED], input=given, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(code, " ".join(output.split())) for code, output in found]


@pytest.fixture
def root(template, tmp_path):
    return Path(shutil.copytree(template / "store", tmp_path / "store"))


def bomb_of_items(root: Path, codec: str) -> Path:
    """8 GiB of one text."""
    return put_part(root, "items", items_table(_LARGE), codec)


def bomb_of_skipped(root: Path, codec: str) -> Path:
    """Millions of rows without a text."""
    return put_part(root, "skipped", skipped_table(1 << 22), codec)


def bomb_of_a_dataset(root: Path, codec: str) -> Path:
    """8 GiB of one text."""
    return put_sealed(root, "dataset", items_table(_LARGE).select(["unit", "item_id", "text"]), codec)


def bomb_of_sums(root: Path, codec: str) -> Path:
    """Vectors of zeros, of which the footer says that they have one value."""
    table = pq.read_table(the(root, "summary"), partitioning=None)
    n = 1 << 24
    vectors = ("total", "unit_total", "unit_square_total")
    kind = table.schema.field("total").type
    zeros = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.array(np.zeros(n)), type=kind)
    columns = [zeros if name in vectors else table[name].slice(0, 1) for name in table.column_names]
    large = pa.Table.from_arrays(columns, schema=table.schema.remove_metadata())
    for merged in (root / "merged").iterdir():  # which spares the reading of summaries
        merged.unlink()
    return put_sealed(root, "summary", large, codec, claiming(5, 1))


BOMBS: dict[str, tuple[Callable[[Path, str], Path], Sequence[str], str]] = {
    "items": (bomb_of_items, ("query", "norms", "--where", "length(text) > 3", "--no-cache"), VARIABLE),
    "few items": (bomb_of_items, ("neighbours", "text1"), VARIABLE),
    "skipped": (bomb_of_skipped, ("info", "--skipped"), VARIABLE),
    "dataset": (bomb_of_a_dataset, ("merge", "--into"), VARIABLE),
    "summary": (bomb_of_sums, ("query", "anisotropy", "--no-cache"), "pages of a column are not those"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_a_bomb_is_found_by_whatever_codec(name, codec, root):
    bomb, _, problem = BOMBS[name]
    path = bomb(root, codec)
    assert path.stat().st_size < (4 * MIB if codec == "none" else MIB)
    assert problem in str(unpacked_problem(path))


def test_no_command_unpacks_a_bomb_and_repair_takes_it_out(template, tmp_path):
    commands: list[Sequence[str | Path]] = []
    for name, (bomb, reading, _) in BOMBS.items():
        root = Path(shutil.copytree(template / "store", tmp_path / name))
        bomb(root, "zstd")
        store = ("--store", root)
        if reading[0] == "merge":
            into = Path(shutil.copytree(template / "other", tmp_path / f"into {name}"))
            commands.append(("merge", root, "--store", into))
        else:
            commands.append((*reading, *store))
        commands += [("verify", *store), ("repair", *store), ("verify", *store)]
    found = limited(commands)
    for place, (name, (_, _, problem)) in enumerate(BOMBS.items()):
        (read, refused), (verified, verdict), (repaired, mended), (again, left) = found[4 * place : 4 * place + 4]
        message = "it is not a summary of" if name == "summary" else problem  # which is read without being unpacked
        assert (read, message in refused) == (2, True), f"{name}: {refused}"
        assert (verified, problem in verdict) == (1, True), f"{name}: {verdict}"
        assert repaired == 0, f"{name}: {mended}"
        assert again == 0, f"{name}: {mended} {left}"


def test_a_false_dim_is_damage_before_room_is_made(root):
    card = the(root, "card")
    seal(card, json.loads(card.read_bytes()) | {"dim": 40_000})  # a matrix of dim² takes 12.8 GB
    [(code, message)] = limited([("query", "partition", "--where", "true", "--no-cache", "--store", root)])
    assert (code, "40,000 components" in message) == (2, True), message


def test_a_table_within_the_limit_is_read_and_the_variable_moves_it(root, monkeypatch):
    path = put_part(root, "items", items_table(62 * MIB), "zstd")
    assert unpacked_problem(path) is None
    assert not Store(root).verify().problems
    path.unlink()
    path = put_part(root, "items", items_table(66 * MIB), "zstd")
    with pytest.raises(DamagedError, match=f"set {VARIABLE}=67 or more") as refused:
        check_unpacked([path], "Remedy.")
    assert path.name in str(refused.value)
    assert str(refused.value).endswith("Remedy.")
    monkeypatch.setenv(VARIABLE, "67")
    check_unpacked([path], "Remedy.")
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(UsageError, match=f"{VARIABLE} is 'much': give a number of MiB"):
        check_unpacked([path], "Remedy.")


def test_the_size_of_texts_that_do_not_repeat_is_known_from_the_pages(tmp_path, monkeypatch):
    """A query reads no text before it reads the few that it shows."""
    monkeypatch.setattr(unpacked, "_text_bytes", None)
    n = 20_000
    table = pa.table(
        {
            "item_id": range(n), "unit": ["word"] * n, "text": [f"word {number}" for number in range(n)],
            "context_id": [None] * n, "start": [None] * n, "end": [None] * n,
        },
        ITEMS_SCHEMA,
    )  # fmt: skip
    path = stage_part(tmp_path / "part", table)
    (tmp_path / "part").rename(path)
    assert unpacked_problem(path) is None
    assert pq.read_table(path).equals(table)
    columns = pq.read_metadata(path).row_group(0)
    dictionaries = {columns.column(at).path_in_schema: columns.column(at).has_dictionary_page for at in range(6)}
    assert [name for name, has in dictionaries.items() if has] == ["unit", "context_id", "start", "end"]


def test_a_large_table_may_unpack_to_many_times_its_size(tmp_path):
    """As tables of items do whose ids are hashes."""
    rng = np.random.default_rng(0)
    table = items_table(100 * MIB)
    noise = pa.array(rng.integers(-(1 << 62), 1 << 62, (1 << 12, 32)).view(np.uint8).reshape(1 << 12, -1).tolist())
    path = tmp_path / "items.parquet"
    pq.write_table(table.append_column("noise", noise.cast(pa.list_(pa.int64()))), path)
    assert path.stat().st_size * 200 > 100 * MIB
    assert unpacked_problem(path) is None


EDITS = {
    "values": claiming(5, 3),
    "sizes": claiming(7, 70),
    "no values": claiming(5, -1),
    "pages elsewhere": claiming(9, 1 << 40),
    "the same pages": naming_groups_often(1 << 10),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_footer_that_its_pages_contradict_is_damage(edit, tmp_path):
    path = tmp_path / "x.parquet"
    sound = written(items_table(MIB), "snappy")
    path.write_bytes(sound)
    assert unpacked_problem(path) is None
    path.write_bytes(with_footer(sound, edit))
    assert unpacked_problem(path) is not None


@pytest.mark.parametrize("settings", [{"column_encoding": {"text": "DELTA_BYTE_ARRAY"}}, {"data_page_version": "2.0"}])
def test_encodings_that_repeat_a_text_in_part_are_refused(settings, tmp_path):
    """A text may then be as long as all before it; version 2 of the pages is as good as the first."""
    path = tmp_path / "x.parquet"
    table = pa.table({"text": [f"text {number}" for number in range(100)]})
    pq.write_table(table, path, use_dictionary=False, **settings)
    assert (unpacked_problem(path) is None) == ("data_page_version" in settings)


def _tables() -> dict[str, pa.Table]:
    n = 1 << 12
    return {
        "texts": items_table(n).cast(ITEMS_SCHEMA),
        "short texts": pa.table({"text": [str(number) for number in range(n)]}),
        "nulls": pa.table({"x": pa.nulls(n, pa.int64()), "y": pa.nulls(n, pa.string())}),
        "lists": pa.table({"x": [[0.0] * 300] * 100, "names": [["a" * 100] * 30] * 100}),
        "empty lists": pa.table({"x": pa.array([[]] * n, pa.list_(pa.float64()))}),
        "no rows": pa.table({"x": pa.array([], pa.int64())}),
    }


@pytest.mark.parametrize("name", [*_tables()])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
def test_what_pyarrow_holds_of_a_table_is_within_its_size(name, codec, tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(_tables()[name], path, compression=codec)
    assert pq.read_table(path).nbytes <= sum(unpacked._unpacked_size(path))
