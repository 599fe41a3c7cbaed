"""``--shard i/n``: several builds make the store that one would make, in one folder or in several."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hanging import HUNG_SECONDS
from synthetic import synthetic_card
from tiny_checkpoint import DIM, LAYERS, assert_same_content, texts

from embstore import Store
from embstore.base.errors import LockedError, UsageError
from embstore.base.sharding import ShardSpec
from embstore.build.report import BuildReport
from embstore.storage.transaction import lock
from embstore.storage.writer import StoreWriter

ITEM_BYTES = 4 * DIM * len(LAYERS)
WORDS = [f"{a}{b}{c}" for a in ("sea", "quick", "x", "bank", "lazy") for b in "abcdefgh" for c in range(12)]
SENTENCES = [f"The {word} flooded the bank and the {word} did not." for word in WORDS[:60]]


@pytest.fixture
def build(tmp_path, checkpoint):
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in WORDS))
    (tmp_path / "sentences.txt").write_text("".join(f"{sentence}\n" for sentence in SENTENCES))

    def run(store: str = "store", source: str = "words.txt", **options: Any) -> BuildReport:
        options = {"models": f"tiny={checkpoint}", "batch_tokens": 40, "shard_bytes": 100 * ITEM_BYTES, **options}
        return Store(tmp_path / store).build(str(tmp_path / source), **options)

    return run


def shards(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.glob("embeddings/*/part-*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("words.txt", {"poolings": ["last", "mean"]}),
        ("sentences.txt", {"unit": "occurrence"}),
        ("sentences.txt", {"unit": "sentence", "dtype": "float16", "shard_bytes": 6 * ITEM_BYTES}),
    ],
)
def test_the_shards_are_those_of_a_single_build(build, tmp_path, source, options):
    build("whole", source, **options)
    assert len(shards(tmp_path / "whole")) >= 4
    reports = []
    for shard in ("2/3", "1/3", "3/3"):  # in any order
        reports.append(build("shared", source, shard=shard, **options))
        build(f"own-{shard[0]}", source, shard=shard, **options)
        assert Store(tmp_path / "shared").verify().ok
        assert Store(tmp_path / f"own-{shard[0]}").verify().ok
    assert shards(tmp_path / "shared") == shards(tmp_path / "whole")
    apart = [name for number in "123" for name in shards(tmp_path / f"own-{number}")]
    assert sorted(apart) == shards(tmp_path / "whole")
    assert_same_content(tmp_path / "whole", tmp_path / "shared")
    assert Store(tmp_path / "shared").info()["index"] == Store(tmp_path / "whole").info()["index"]
    n_items = reports[0].n_items
    for place in range(len(reports[0].spaces)):
        done = [report.spaces[place] for report in reports]
        assert sum(each.embedded for each in done) == n_items
        assert [each.embedded + each.present + each.elsewhere for each in done] == [n_items] * 3


@pytest.mark.process
def test_machines_work_side_by_side_in_one_folder(build, tmp_path, checkpoint):
    build("whole", poolings=["last", "mean"])
    code = (
        "import sys\nfrom embstore import Store\n"
        "Store(sys.argv[1]).build(sys.argv[2], models=sys.argv[3], shard=sys.argv[4], poolings=['last', 'mean'],\n"
        f"    batch_tokens=40, shard_bytes={100 * ITEM_BYTES})"
    )
    arguments = [str(tmp_path / "store"), str(tmp_path / "words.txt"), f"tiny={checkpoint}"]
    running = [subprocess.Popen([sys.executable, "-c", code, *arguments, f"{i}/2"]) for i in (1, 2)]
    assert [each.wait() for each in running] == [0, 0]
    store = Store(tmp_path / "store")
    assert shards(tmp_path / "store") == shards(tmp_path / "whole")
    assert store.verify().ok
    assert store.info()["index"] == ["flat", "flat"], "the last to end indexes what all have written"
    assert len(texts(tmp_path / "store")) == len(WORDS)


def test_a_killed_part_is_run_again(build, tmp_path):
    build("whole")
    build(shard="1/2", index="none")
    lost = tmp_path / "store" / shards(tmp_path / "store")[0]
    lost.unlink()  # as if it had been killed before its last rename
    build(shard="2/2", index="none")
    report = build(shard="1/2")
    assert report.spaces[0].embedded > 0
    assert shards(tmp_path / "store") == shards(tmp_path / "whole")
    assert Store(tmp_path / "store").verify().ok


@pytest.mark.parametrize("shard", ["5/3", "0/2", "half", "1/0"])
def test_what_is_no_part_is_refused(build, tmp_path, shard):
    with pytest.raises(UsageError, match=r"write i/n with 1 ≤ i ≤ n.*Three machines take 1/3"):
        build(shard=shard)
    assert not (tmp_path / "store").exists()


def test_nobody_else_writes_beside_parts(build, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_START_SECONDS", 0.1)
    root = tmp_path / "store"
    me = f"process {os.getpid()} on {socket.gethostname()}"
    with StoreWriter(root, ShardSpec(1, 2)), StoreWriter(root, ShardSpec(2, 2)):
        for refused in (None, ShardSpec(1, 2), ShardSpec(1, 3)):
            with pytest.raises(LockedError) as caught, StoreWriter(root, refused):
                pass
            assert me in str(caught.value)
            assert 'shard="1/2"' in str(caught.value)
        with pytest.raises(LockedError, match='shard="2/2"'):
            build()
    with StoreWriter(root):
        with pytest.raises(LockedError, match=me), StoreWriter(root, ShardSpec(1, 2)):
            pass
        with pytest.raises(LockedError, match=f"{me}.*Wait"):
            build()
    assert build().spaces[0].embedded == len(WORDS)
    assert [path.name for path in root.glob(".lock-shard*")] == []


def test_parts_of_other_sources_are_refused(build, tmp_path):
    """Their parts would be cut in other places, and a text could be embedded twice."""
    with StoreWriter(tmp_path / "store", ShardSpec(1, 2)) as store:
        store.compare_plan([{"unit": "word"}])
        with pytest.raises(LockedError, match=r"shard=.1/2.\), from other sources or with other options"):
            build(shard="2/2")


def test_what_another_part_is_writing_is_left_alone(tmp_path):
    root = tmp_path / "store"
    with StoreWriter(root, ShardSpec(1, 2)):
        (root / ".1-a.tmp").touch()
        with StoreWriter(root, ShardSpec(2, 2)):
            assert (root / ".1-a.tmp").exists()
    with StoreWriter(root, ShardSpec(2, 2)):
        assert not (root / ".1-a.tmp").exists(), "nobody else is alive"


def test_a_dry_run_counts_its_part(build, tmp_path):
    dry = [build(shard=f"{i}/2", dry_run=True) for i in (1, 2)]
    assert not (tmp_path / "store").exists()
    real = [build(f"own-{i}", shard=f"{i}/2") for i in (1, 2)]
    for name in ("n_tokens", "n_forward_passes", "n_items"):
        assert [getattr(each, name) for each in dry] == [getattr(each, name) for each in real]
    assert [each.spaces[0].embedded for each in dry] == [each.spaces[0].embedded for each in real]


def test_texts_are_looked_up_and_written_by_one_part_at_a_time(tmp_path):
    """Two models cut the parts at other ids, so that two machines may come upon the same text at once."""
    card = synthetic_card()
    wrote: list[str] = []
    with (
        StoreWriter(tmp_path / "store", ShardSpec(1, 2)) as each,
        StoreWriter(tmp_path / "store", ShardSpec(2, 2)) as other,
        each.space_writer(card, lambda _: wrote.append("one")) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        writer.add(np.array([7]), np.ones((len(card.layers), 1, card.dim), np.float32))
        with other.writing_texts():
            cut = pool.submit(writer.cut)
            with pytest.raises(TimeoutError):
                cut.result(timeout=0.3)
            wrote.append("other")
        cut.result(timeout=HUNG_SECONDS)
    assert wrote == ["other", "one"]
