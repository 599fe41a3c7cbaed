"""A build that dies at any of its steps: what is left, and what the next build makes of it."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from killing import count_steps, kill_at
from tiny_checkpoint import assert_same_content

from embstore import Store

pytestmark = pytest.mark.fault

WORDS = [f"{a}{b}" for a in ("sea", "quick", "bank", "x") for b in ("s", "ing", "ed", "er", "ly")]


def _build(store: Path, source: Path, checkpoint: Path) -> None:
    Store(store).build(str(source), models=str(checkpoint), shard_bytes=12_000)


def test_a_build_may_die_before_any_rename(tmp_path: Path, checkpoint: Path) -> None:
    """What is committed answers after each death, and the next build of anything leaves a store that verifies."""
    source, other = tmp_path / "words.txt", tmp_path / "other.txt"
    source.write_text("\n".join(WORDS))
    other.write_text("zebra\n")
    whole = tmp_path / "whole"
    n_steps = count_steps(partial(_build, whole, source, checkpoint))
    assert n_steps > 20
    for step in range(1, n_steps + 1, 5):
        store = tmp_path / f"dies-{step}"
        kill_at(partial(_build, store, source, checkpoint), step)
        if (store / "store.json").exists() and Store(store).catalog.cards:
            Store(store).query("anisotropy", variant="centred")
        Store(store).build(str(other), models=str(checkpoint), unit="sentence", poolings="last")
        assert Store(store).verify().problems == (), step
        Store(store).build(str(source), models=str(checkpoint))
        assert Store(store).verify().problems == (), step
        Store(whole).build(str(other), models=str(checkpoint), unit="sentence", poolings="last")
        assert_same_content(store, whole)


def test_readers_beside_a_build_see_a_sound_store(tmp_path: Path, checkpoint: Path) -> None:
    """While a build adds shards and indexes, every reader gets an answer, and verify is content."""
    store = tmp_path / "store"
    (tmp_path / "first.txt").write_text("\n".join(WORDS))
    Store(store).build(str(tmp_path / "first.txt"), models=str(checkpoint))
    sources = []
    for part in range(12):
        path = tmp_path / f"{part}.txt"
        path.write_text("\n".join(f"{word} {part} {n}" for word in WORDS for n in range(20)))
        sources.append(str(path))
    build = "import sys\nfrom embstore import Store\nfor source in sys.argv[3:]:\n"
    build += "    Store(sys.argv[1]).build(source, models=sys.argv[2], shard_bytes=60_000)\n"
    writer = subprocess.Popen([sys.executable, "-c", build, str(store), str(checkpoint), *sources])
    n_reads = 0
    try:
        while writer.poll() is None:
            reader = Store(store)
            assert len(reader.neighbours("seas", layers="all", k=3)) == 3 * 4
            assert reader.verify().problems == ()
            assert reader.query("anisotropy", where="length(text) < 9", layers=1)["n"][0] >= 1
            n_reads += 1
    finally:
        writer.wait()
    assert writer.returncode == 0
    assert n_reads >= 5
