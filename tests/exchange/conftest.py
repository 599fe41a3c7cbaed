"""A store to push, and a fake hub."""

import numpy as np
import pytest
from fake_hub import TOKEN, FakeHub
from store_writing import SkippedText, write_skipped

from embstore.base.space import Unit
from embstore.storage.writer import write_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Folder of the copies of files of stores at URLs."""
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(make_store):
    """A store of two spaces with indexes, a dataset, a skipped text and an answer."""
    made = make_store(n=60, n_shards=3)
    make_store(unit="sentence", texts=["a river bank", "the bank of the river"])
    columns = {"item_id": made.ids[:3], "text": list(made.texts[:3]), "score": np.arange(3.0)}
    write_dataset(made.files, "scores", "lexicon", Unit.WORD, columns)
    write_skipped(
        made.files, [SkippedText("long", "skipped", "too long", made.space, 7, "words.txt:1")]
    )
    made.store.query("anisotropy")
    return made


@pytest.fixture
def hub(monkeypatch):
    """A fake of the hub, which huggingface_hub's own client talks to; the hub itself could not be
    reached.
    """
    constants = pytest.importorskip("huggingface_hub.constants")
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # The fake stores large files as LFS.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub
