"""A store at a URL is read through a mirror, and its answers are those of the same store in a folder."""

import shutil

import numpy
import pytest
from object_servers import new_bucket
from synthetic import synthetic_store

from embstore import Store
from embstore.storage.remote.remote_store import RemoteStore

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def made(moto, tmp_path_factory):
    """A store in a folder, and the same one in a bucket."""
    folder, bucket = tmp_path_factory.mktemp("made"), new_bucket(moto)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBSTORE_CACHE", str(folder / "cache"))
        with RemoteStore(bucket.url, bucket.options).writing(is_new=True) as root:
            for first in range(0, 900, 300):
                texts = [f"word{n}" for n in range(first, first + 300)]
                synthetic_store(root, dim=16, texts=texts, seed=first, n_shards=9)  # so many that they are listed
            shutil.copytree(root, folder / "local")
    return folder / "local", bucket


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.info(),
        lambda store: store.query("anisotropy"),
        lambda store: store.query("isoscore", layers="2"),
        lambda store: store.query("anisotropy", layers="1", where="text like 'word1%'"),
        lambda store: store.query("effective-rank", layers="top", transforms="abtt:1"),
        lambda store: store.query("cka"),
        lambda store: store.neighbours("word7", k=5),
        lambda store: store.neighbours("word7", k=5, layers="1", exact=True),
        lambda store: store.drift(most=3),
        lambda store: store.sql("SELECT sum(hash(layer, vector)::HUGEINT) FROM embeddings").fetchall(),
        lambda store: store.sql("SELECT count(*) AS n, min(text) AS first FROM items").fetchall(),
        lambda store: [numpy.asarray(part).tolist() for part in store.vectors("toy.word.last", 3)],
        lambda store: [row["kept"] for row in store.map(layers="2")],
    ],
)
def test_answers_equal_those_of_a_folder(made, ask, cache):
    folder, bucket = made
    assert ask(bucket.store) == ask(Store(folder))
    assert [*cache.iterdir()], "the mirror is in the cache"
