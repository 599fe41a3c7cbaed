"""``--shard i/n``: several workers embed what a single build embeds, in one store or in one
each.
"""

import subprocess
import sys

import pytest
from tiny_checkpoint import DIM, assert_same_content, columns, content

from embstore import Store
from embstore.base.errors import LockedError, UsageError
from embstore.build import pipeline
from embstore.storage.writer import StoreWriter

ITEM_BYTES = 4 * DIM
WORDS = [
    f"{a}{b}{c}"
    for a in ("sea", "quick", "x", "bank", "lazy")
    for b in "abcdefgh"
    for c in range(12)
]
SENTENCES = [f"The {word} flooded the bank and the {word} did not." for word in WORDS[:60]]


@pytest.fixture
def build(tmp_path, checkpoint):
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in WORDS))
    (tmp_path / "sentences.txt").write_text("".join(f"{sentence}\n" for sentence in SENTENCES))

    def run(store="store", source="words.txt", **options):
        options = {
            "models": f"tiny={checkpoint}",
            "batch_tokens": 40,
            "shard_bytes": 100 * ITEM_BYTES,
            **options,
        }
        return Store(tmp_path / store).build(str(tmp_path / source), **options)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("words.txt", {"poolings": ["last", "mean"]}),
        ("sentences.txt", {"unit": "occurrence"}),
        ("sentences.txt", {"unit": "sentence", "dtype": "float16", "shard_bytes": 6 * ITEM_BYTES}),
    ],
)
def test_workers_embed_what_a_single_build_embeds(build, tmp_path, source, options):
    build("whole", source, **options)
    reports = []
    for shard in ("2/3", "1/3", "3/3"):  # in any order
        reports.append(build("shared", source, shard=shard, **options))
        build(f"own-{shard[0]}", source, shard=shard, **options)
        assert Store(tmp_path / "shared").verify().ok
    assert_same_content(tmp_path / "whole", tmp_path / "shared")
    whole, shared = Store(tmp_path / "whole"), Store(tmp_path / "shared")
    assert set(shared.info()["index"]) == {"none"}
    shared.index()
    assert shared.info()["index"] == whole.info()["index"]
    n_items = reports[0].n_items
    for place, space in enumerate(reports[0].spaces):
        done = [report.spaces[place] for report in reports]
        assert [each.embedded + each.present + each.elsewhere for each in done] == [n_items] * 3
        n_apart = [len(content(tmp_path / f"own-{number}")[space.space][0]) for number in (2, 1, 3)]
        assert [each.embedded for each in done] == n_apart
        assert sum(n_apart) == n_items


@pytest.mark.process
def test_workers_share_a_folder_at_the_same_time(build, tmp_path, checkpoint):
    build("whole", poolings=["last", "mean"])
    code = (
        "import sys\nfrom embstore import Store\n"
        "Store(sys.argv[1]).build(sys.argv[2], models=sys.argv[3], shard=sys.argv[4], poolings=['last', 'mean'],\n"
        f"    batch_tokens=40, shard_bytes={100 * ITEM_BYTES})"
    )
    arguments = [str(tmp_path / "store"), str(tmp_path / "words.txt"), f"tiny={checkpoint}"]
    running = [subprocess.Popen([sys.executable, "-c", code, *arguments, f"{i}/2"]) for i in (1, 2)]
    assert [each.wait() for each in running] == [0, 0]
    assert_same_content(tmp_path / "whole", tmp_path / "store")
    store = Store(tmp_path / "store")
    assert store.verify().ok
    assert store.info()["index"] == ["none", "none"]
    store.index()
    assert store.info()["index"] == ["flat", "flat"]


@pytest.mark.slow
def test_a_worker_keeps_the_token_counts_that_another_stored_meanwhile(
    build, tmp_path, monkeypatch
):
    build(poolings="first")
    forget = pipeline.forget_token_counts

    def after_the_other_worker(job, files):
        monkeypatch.setattr(pipeline, "forget_token_counts", forget)
        seen = files.find_manifest()
        build(shard="1/2")
        with monkeypatch.context() as patch:
            patch.setattr(type(files), "find_manifest", lambda _: seen)
            forget(job, files)

    monkeypatch.setattr(pipeline, "forget_token_counts", after_the_other_worker)
    build(shard="2/2")
    assert len(columns(tmp_path / "store")["n_tokens.tiny.word.last"]) == len(WORDS)


@pytest.mark.parametrize("shard", ["5/3", "0/2", "half", "1/0"])
def test_what_is_no_worker_is_refused(build, tmp_path, shard):
    with pytest.raises(UsageError, match=r"write i/n with 1 ≤ i ≤ n.*Three machines take 1/3"):
        build(shard=shard)
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_a_part_makes_no_index_and_says_what_does(build, tmp_path):
    root = tmp_path / "store"
    report = build(shard="1/2")
    assert report.lines()[-1] == (
        "A part makes no index. When all parts are in one store, run: embstore index --store"
        f" {root}"
    )
    assert Store(root).info()["index"] == ["none"]
    with pytest.raises(
        UsageError, match=r"makes no index: leave out index='hnsw'\. When all parts"
    ):
        build(shard="1/2", index="hnsw")
    build()
    Store(root).index(kind="hnsw")
    before = Store(root).info()["index"]
    build(shard="2/2", index="none")
    assert Store(root).info()["index"] == before == ["hnsw"]
    assert "A part" not in build("own", shard="1/1").lines()[-1]
    assert Store(tmp_path / "own").info()["index"] == ["flat"]


def test_only_a_whole_build_takes_the_lock(build, tmp_path):
    with StoreWriter(tmp_path / "store"):
        with pytest.raises(LockedError, match=r"being written by another process\. Wait"):
            build()
        assert build(shard="2/2").spaces[0].embedded
    assert Store(tmp_path / "store").verify().ok


@pytest.mark.slow
def test_workers_may_have_other_sources(build, tmp_path):
    build(shard="1/2", limit=300)
    build(shard="2/2")
    assert Store(tmp_path / "store").verify().ok
    build(shard="1/2")
    build("whole")
    assert_same_content(tmp_path / "whole", tmp_path / "store")


@pytest.mark.slow
def test_a_dry_run_counts_the_items_of_its_worker(build, tmp_path):
    dry = [build(shard=f"{i}/2", dry_run=True) for i in (1, 2)]
    assert not (tmp_path / "store").exists()
    real = [build(f"own-{i}", shard=f"{i}/2") for i in (1, 2)]
    for name in ("n_tokens", "n_forward_passes", "n_items"):
        assert [getattr(each, name) for each in dry] == [getattr(each, name) for each in real]
    assert [each.spaces[0].embedded for each in dry] == [each.spaces[0].embedded for each in real]
