"""Builds that must fail: each names the thing, the place and the remedy, and leaves a store that
verifies.
"""

import json
import os
import pickle
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_writing import replace_card
from tiny_checkpoint import DIM, assert_same_content, content, make_checkpoint, stored_files

from embstore import Store
from embstore.base.errors import (
    CheckpointError,
    CheckpointUnavailableError,
    DamagedError,
    EncodeError,
    SourceError,
    StoreError,
    UsageError,
)
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.encode.checkpoint import fingerprint, resolve
from embstore.storage.catalog import Catalog

SHARD_ITEMS = 16
SHARD_BYTES = SHARD_ITEMS * 4 * DIM
WORDS = [f"w{i}" for i in range(4 * SHARD_ITEMS)]


@pytest.fixture
def build(tmp_path, checkpoint):
    def run(*lines, store="store", **options):
        (tmp_path / "words.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        options = {
            "models": f"tiny={checkpoint}",
            "batch_tokens": 24,
            "shard_bytes": SHARD_BYTES,
            **options,
        }
        return Store(tmp_path / store).build(str(tmp_path / "words.txt"), **options)

    return run


def _stored(root):
    return len(content(root)["tiny.word.last"][0])


def test_a_text_at_which_the_model_fails_is_skipped_with_its_place(build, tmp_path, monkeypatch):
    import transformers

    forward = transformers.GPT2Model.forward

    def failing(self, input_ids, **kwargs):
        if input_ids.shape[1] > 20:
            raise IndexError("index out of range in self")
        return forward(self, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(transformers.GPT2Model, "forward", failing)
    long = "x" * 30
    report = build(*WORDS[:3], long, *WORDS[3:], batch_tokens=400)
    [space] = report.spaces
    assert (space.embedded, dict(space.skipped)) == (
        len(WORDS),
        {"the model fails at this text": 1},
    )
    [row] = Store(tmp_path / "store").skipped()
    assert (row["text"], row["outcome"]) == (long, "skipped")
    assert row["reason"] == "the model fails at this text: IndexError: index out of range in self"
    assert row["origin"].endswith("words.txt:4")
    assert Store(tmp_path / "store").verify().ok
    again = build(*WORDS[:3], long, *WORDS[3:])
    assert (again.spaces[0].embedded, again.spaces[0].skipped.total()) == (0, 1)


def test_a_model_that_fails_at_every_text_names_the_first(build, tmp_path, monkeypatch):
    import transformers

    build("cat")
    forward = transformers.GPT2Model.forward
    calls = []

    def failing(self, **kwargs):
        calls.append(1)
        if len(calls) > 3:  # the check at load passes
            raise RuntimeError("device-side assert triggered")
        return forward(self, **kwargs)

    monkeypatch.setattr(transformers.GPT2Model, "forward", failing)
    with pytest.raises(
        EncodeError,
        match=r"fails at every text.*device-side.*The first is 'dog' \(.*words\.txt:2\)",
    ):
        build("cat", "dog")
    assert Store(tmp_path / "store").verify().ok


def test_a_vector_that_is_not_finite_is_refused_with_its_text_and_what_was_written_before_stays(
    build, tmp_path
):
    broken = make_checkpoint(tmp_path / "broken", nan_token="z")
    last = max((f"{word}za" for word in WORDS), key=lambda text: Item.whole(Unit.WORD, text).id)
    with pytest.raises(EncodeError, match="layer 1 is not finite") as caught:
        build(*WORDS, last, models=f"tiny={broken}")
    for part in (f"'{last}'", f"words.txt:{len(WORDS) + 1}", str(broken)):
        assert part in str(caught.value)
    kept = _stored(tmp_path / "store")
    # Parts go by ascending ids: the one of the broken vector is among the last.
    assert len(WORDS) // 2 < kept < len(WORDS)
    assert Store(tmp_path / "store").verify().ok
    report = build(*WORDS, models=f"tiny={broken}")
    assert (report.spaces[0].embedded, report.spaces[0].present) == (len(WORDS) - kept, kept)


def test_float16_overflow_names_the_remedy(build, tmp_path):
    large = make_checkpoint(tmp_path / "large", scale=1e6)
    with pytest.raises(
        EncodeError,
        match=r"float16 ends at 65504.*dtype='float32'.*The text is 'w\d+' \(.*words\.txt",
    ):
        build(*WORDS, models=f"tiny={large}", dtype="float16")
    assert not Catalog(tmp_path / "store").manifest.files
    # The remedy works as it stands.
    assert build(*WORDS, models=f"tiny={large}").spaces[0].embedded == len(WORDS)
    assert Store(tmp_path / "store").info()["dtype"] == ["float32"]


def test_what_skips_every_text_makes_no_space(build, tmp_path):
    report = build("w1", models=f"tiny={make_checkpoint(tmp_path / 'short', positions=1)}")
    assert report.spaces[0].skipped.total() == 1
    store = Store(tmp_path / "store")
    assert (len(store.info()), len(store.skipped())) == (0, 1)
    assert store.verify().ok


@pytest.mark.fault
@pytest.mark.parametrize("beside", [False, True], ids=["a new store", "beside another space"])
def test_a_disk_that_is_full_at_the_first_shard_leaves_no_space(build, tmp_path, beside):
    if beside:
        build(*WORDS, name="other")
    with _files_of_at_most(9000), pytest.raises(OSError, match="File too large"):
        build(*WORDS, shard_bytes=1 << 20)
    assert [*Catalog(tmp_path / "store").cards] == beside * ["other"]
    assert not beside or Store(tmp_path / "store").verify().ok


@contextmanager
def _files_of_at_most(n_bytes):
    """Let writing fail as on a full disk once a file is larger (the system then says EFBIG, not
    ENOSPC).
    """
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX's")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount or not umount or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    yield folder
    subprocess.run([umount, "-l", folder], check=True)


@pytest.mark.fault
def test_a_store_that_cannot_be_written_is_queried_but_not_built(build, small_disk):
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    build(*WORDS, store="disk/store")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store = Store(small_disk / "store")
    assert store.verify().ok
    assert store.info()["items"] == [len(WORDS)]
    assert len(store.query("anisotropy")) == 4
    assert len(store.query("norms", where="text > 'w2'")) == 4
    assert len(store.neighbours("w1", k=3)) == 3
    with pytest.raises(OSError, match=r"Read-only file system: .*disk/store"):
        build(*WORDS, "more", store="disk/store")


def test_what_is_no_store_is_not_built_into(build, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("mine")
    with pytest.raises(
        StoreError, match=r"is not a store.*name a folder that is empty or does not exist"
    ):
        build(*WORDS)
    with pytest.raises(StoreError, match="is not a store"):
        build(*WORDS, dry_run=True)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["thesis.tex"]


def test_a_source_that_changes_while_it_is_read_builds_nothing(build, tmp_path, monkeypatch):
    def write_more(text):
        if text == WORDS[2]:
            with (tmp_path / "words.txt").open("a") as file:
                file.write("more\n")
        return True

    monkeypatch.setattr("embstore.storage.staging.staging.is_unicode", write_more)
    for limit in (None, 5):
        with pytest.raises(SourceError, match=r"words\.txt changed while it was read"):
            build(*WORDS, limit=limit)
    assert not (tmp_path / "store").exists()


def test_two_texts_with_one_id_build_nothing(build, tmp_path, monkeypatch):
    build("dog", store="old")
    real = Item.whole(Unit.WORD, "dog").id
    monkeypatch.setattr("embstore.storage.staging.staging.item_id", lambda unit, text: real)
    for store, texts in (("store", ["cat", "cow"]), ("old", ["cat"])):
        with pytest.raises(
            SourceError,
            match=r"two different texts have the same item id: 'cat' \(.*words\.txt:1\) and",
        ):
            build(*texts, store=store)
    assert not (tmp_path / "store").exists()
    assert Store(tmp_path / "old").verify().ok
    assert _stored(tmp_path / "old") == 1


@pytest.mark.fault
def test_an_altered_text_of_the_store_is_not_taken_for_a_text_with_the_same_id(build, tmp_path):
    build("dog")
    [file] = stored_files(tmp_path / "store", "items/")
    items = pq.read_table(file)
    place = items.column_names.index("text")
    pq.write_table(items.set_column(place, items.field("text"), pa.array(["dig"])), file)
    with pytest.raises(DamagedError, match=rf"{file.name} is damaged: it does not have the size"):
        build("dog", "cat")


@pytest.mark.fault
@pytest.mark.parametrize(("stage", "step"), [("load", 1), ("encode", 5), ("index", 3)])
def test_an_interrupt_keeps_what_is_embedded(build, tmp_path, stage, step):
    """Ctrl-C at each stage; the real signal is in tests/faults."""
    seen = []

    def observe(progress):
        seen.append(progress)
        if [each.stage for each in seen].count(stage) == step:
            raise KeyboardInterrupt

    build(*WORDS, store="whole")
    with pytest.raises(KeyboardInterrupt):
        build(*WORDS, progress=observe)
    kept = seen[-1].done if stage == "encode" else len(WORDS) if stage == "index" else 0
    if kept:
        assert Store(tmp_path / "store").verify().ok
        assert _stored(tmp_path / "store") == kept
    assert not list(tmp_path.rglob(".*.tmp"))
    report = build(*WORDS)
    assert (report.spaces[0].embedded, report.spaces[0].present) == (len(WORDS) - kept, kept)
    assert_same_content(tmp_path / "whole", tmp_path / "store")
    assert Store(tmp_path / "store").info()["index"] == ["flat"]


ASKING = [
    pytest.param(
        lambda store, **trust: store.encode("sea", "tiny.word.last", **trust), id="encode"
    ),
    pytest.param(
        lambda store, **trust: store.neighbours("sea", embed=True, k=DIM, **trust), id="neighbours"
    ),
]
"""What encodes a text that is not stored; of either, the length of the result is DIM."""


class Evil:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


class TestEmbed:
    """``neighbours(…, embed=True)``: by the very checkpoint that made the space, or not at all."""

    @pytest.fixture
    def moved(self, checkpoint, tmp_path):
        return Path(shutil.copytree(checkpoint, tmp_path / "mine"))

    def test_the_neighbours_are_those_of_the_stored_vector(self, build, tmp_path, moved):
        build(*WORDS, "sea", store="with", models=str(moved))
        build(*WORDS, store="without", models=str(moved))
        stored = Store(tmp_path / "with").neighbours("sea", layers="all", k=5)
        embedded = Store(tmp_path / "without").neighbours("sea", layers="all", k=5, embed=True)
        assert stored["cosine"] == pytest.approx(embedded["cosine"], abs=1e-5)
        for layer in set(stored["layer"]):
            of_layer = [
                [row for row in found if row["layer"] == layer] for found in (stored, embedded)
            ]
            # Words that end alike are equally near at layer 0.
            least = min(row["cosine"] for row in of_layer[0]) + 1e-5
            near = [{row["item_id"] for row in rows if row["cosine"] > least} for rows in of_layer]
            assert near[0] == near[1]

    def test_another_checkpoint_in_its_place_is_refused(self, build, tmp_path, moved):
        build(*WORDS, models=str(moved))
        make_checkpoint(moved, seed=3)
        with pytest.raises(
            CheckpointError, match=r"not the one that made mine\.word\.last: its weights_sha256 is"
        ) as caught:
            Store(tmp_path / "store").neighbours("sea", embed=True)
        assert str(moved) in str(caught.value)

    def test_a_checkpoint_that_is_gone_is_named_with_the_remedy(self, build, tmp_path, moved):
        build(*WORDS, models=str(moved))
        moved.rename(tmp_path / "elsewhere")
        with pytest.raises(
            CheckpointError, match=r"no such folder now\. Put it back there.*models=.mine=FOLDER"
        ):
            Store(tmp_path / "store").neighbours("sea", embed=True)
        # The remedy works.
        report = build("sea", models=f"mine={tmp_path / 'elsewhere'}")
        assert report.spaces[0].embedded == 1
        assert len(Store(tmp_path / "store").neighbours("sea", k=3)) == 3

    @pytest.mark.parametrize("ask", ASKING)
    def test_pickles_need_the_users_word(self, build, tmp_path, moved, ask):
        import torch
        from safetensors.torch import load_file

        torch.save(load_file(moved / "model.safetensors"), moved / "pytorch_model.bin")
        (moved / "model.safetensors").unlink()
        build(*WORDS, models=f"tiny={moved}", allow_pickle=True)
        store = Store(tmp_path / "store")
        for trust in ({}, {"download": True}):
            with pytest.raises(CheckpointError, match=r"only pickled weights.*allow_pickle=True"):
                ask(store, **trust)
        assert len(ask(store, allow_pickle=True)) == DIM

    @pytest.mark.parametrize("ask", ASKING)
    def test_no_code_of_a_checkpoint_is_run_whatever_is_allowed(self, build, tmp_path, moved, ask):
        """Of one that has the very hashes in the card, as a store from elsewhere may name it."""
        (moved / "evil.py").write_text("raise SystemExit('ran')")
        own = {"AutoConfig": "evil.A", "AutoModel": "evil.B", "AutoTokenizer": ["evil.C", "evil.D"]}
        for file in (moved / "config.json", moved / "tokenizer_config.json"):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": own}))
        build(*WORDS, models=f"tiny={moved}")
        allowed = {"download": True, "allow_pickle": True}
        assert len(ask(Store(tmp_path / "store"), **allowed)) == DIM
        evil = moved.rename(tmp_path / "evil")
        (evil / "model.safetensors").unlink()
        (evil / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
        files = Store(tmp_path / "store").catalog.files
        [card] = Store(tmp_path / "store").catalog.cards.values()
        weights = fingerprint(resolve(str(evil), allow_pickle=True)).weights_sha256
        replace_card(files, replace(card, checkpoint=str(evil), weights_sha256=weights))
        with pytest.raises(CheckpointError, match="only pickled weights"):
            ask(Store(tmp_path / "store"), download=True)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            ask(Store(tmp_path / "store"), **allowed)

    @pytest.mark.parametrize("ask", ASKING)
    def test_what_a_card_names_is_downloaded_only_with_the_users_word(
        self, build, checkpoint, tmp_path, monkeypatch, ask
    ):
        import huggingface_hub

        build(*WORDS)
        store = Store(tmp_path / "store")
        [card] = store.catalog.cards.values()
        replace_card(store.catalog.files, replace(card, checkpoint="org/tiny", revision="c0ffee"))
        calls = []

        def snapshot_download(hub_id, **options):
            calls.append((hub_id, options["revision"], options.get("local_files_only", False)))
            if calls[-1][2]:
                raise FileNotFoundError("not in the cache")
            return str(checkpoint)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        here, there = ("org/tiny", "c0ffee", True), ("org/tiny", "c0ffee", False)
        for trust in ({}, {"allow_pickle": True}):
            with pytest.raises(
                CheckpointUnavailableError,
                match=r"'org/tiny' is not on this machine\..*add download=True",
            ):
                ask(Store(tmp_path / "store"), **trust)
        assert calls == [here, here]
        assert len(ask(Store(tmp_path / "store"), download=True)) == DIM
        assert calls[2:] == [here, there]

    def test_leave_without_use_is_a_mistake_and_a_text_without_tokens_is_said(
        self, build, tmp_path
    ):
        build("sea")
        for leave in ({"download": True}, {"allow_pickle": True}):
            with pytest.raises(UsageError, match="add embed=True"):
                Store(tmp_path / "store").neighbours("sea", **leave)
        with pytest.raises(EncodeError, match=r"^'(far ){15}'… cannot be encoded: .*64"):
            Store(tmp_path / "store").neighbours("far " * 90, embed=True)
