"""Other programs open what is exported, and their files are read."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import EmbstoreError, SourceError

WORDS = ["dog", "cat", "sun", "naïve", "日本"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synthetic_store(tmp_path_factory.mktemp("made") / "store", n=30, n_blocks=2, index=False)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def _expected(made, layer):
    return dict(zip(made.texts, made.layer(layer).tolist(), strict=True))


def test_safetensors_opens_its_export(made, tmp_path):
    from safetensors import safe_open

    made.store.export(tmp_path / "a.safetensors", made.space)
    with safe_open(tmp_path / "a.safetensors", "np") as file:
        record = json.loads(file.metadata()["embstore"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert record["card"] == made.card.to_dict()
    bounds, data = tensors["text_offsets"].tolist(), tensors["texts"].tobytes()
    texts = [data[start:end].decode() for start, end in pairwise(bounds)]
    for layer in made.card.layers:
        assert dict(zip(texts, tensors[f"layer_{layer.name}"].tolist(), strict=True)) == _expected(
            made, layer.id
        )
    ids = dict(zip(made.texts, made.ids.tolist(), strict=True))
    assert tensors["item_ids"].tolist() == [ids[text] for text in texts]


@pytest.mark.parametrize(("row", "end"), [(2, -1), (2, 1_000_000), (-1, 1_000_000)])
def test_texts_that_end_in_no_order_are_refused(made, store, tmp_path, row, end):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    file = tmp_path / "a.safetensors"
    made.store.export(file, made.space)
    with safe_open(file, "np") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    tensors["text_offsets"][row] = end
    save_file(tensors, file)
    with pytest.raises(SourceError, match="end in no order"):
        store.import_vectors(file, "mine")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_safetensors_of_any_type_are_read(store, tmp_path, dtype):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    tensor = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    save_file({"embeddings.weight": tensor, "bias": torch.zeros(4)}, tmp_path / "a.safetensors")
    (tmp_path / "words.txt").write_text("\n".join(WORDS), "utf-8")
    report = store.import_vectors(tmp_path / "a.safetensors", "mine", texts=tmp_path / "words.txt")
    assert any(dtype in note for note in report.notes) == (dtype in ("bfloat16", "float64"))
    _, texts, vectors = store.vectors("mine", 0)
    assert (vectors == tensor.float().numpy()[[WORDS.index(text) for text in texts]]).all()


@pytest.mark.slow
def test_datasets_loads_its_export_and_what_it_saves_is_read(made, store, tmp_path):
    datasets = pytest.importorskip("datasets")

    made.store.export(tmp_path / "out", made.space, format="datasets")
    rows = datasets.load_dataset(
        str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert {row["text"]: row["vector"] for row in rows if row["layer"] == 1} == _expected(made, 1)
    assert re.search(r"Vectors of toy.word.last\n", (tmp_path / "out" / "README.md").read_text())
    store.import_vectors(tmp_path / "out", "back")
    assert store.catalog.cards["back"].layers == made.card.layers
    saved = datasets.Dataset.from_dict({"word": WORDS, "v": [[float(n), -0.5] for n in range(5)]})
    saved.save_to_disk(str(tmp_path / "saved"), num_shards=2)
    store.import_vectors(tmp_path / "saved", "saved")
    _, texts, vectors = store.vectors("saved", 0)
    assert dict(zip(texts, vectors[:, 0].tolist(), strict=True)) == {
        word: n for n, word in enumerate(WORDS)
    }
    datasets.DatasetDict({"train": saved}).save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(EmbstoreError, match=r"has the splits train\. Give the folder of one"):
        store.import_vectors(tmp_path / "splits", "splits")


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_loads_its_export_and_what_it_saves_is_read(made, store, tmp_path, binary):
    models = pytest.importorskip("gensim.models")

    made.store.export(tmp_path / "a.vec", made.space, layers=1)
    loaded = models.KeyedVectors.load_word2vec_format(str(tmp_path / "a.vec"))
    expected = _expected(made, 1)
    assert {key: loaded[key].tolist() for key in loaded.index_to_key} == expected
    again = tmp_path / ("b.bin" if binary else "b.vec")
    loaded.save_word2vec_format(str(again), binary=binary)
    store.import_vectors(again, "again")
    _, texts, vectors = store.vectors("again", 0)
    assert np.allclose(vectors, [expected[text] for text in texts], atol=0 if binary else 1e-6)


def test_pandas_polars_and_duckdb_read_the_tables(made, tmp_path):
    import duckdb
    import pandas as pd
    import polars as pl

    for name in ("a.parquet", "a.arrow", "a.csv"):
        made.store.export(tmp_path / name, made.space)
    expected = _expected(made, 2)
    frame = pd.read_parquet(tmp_path / "a.parquet")
    chosen = frame[frame["layer"] == 2]
    assert {
        text: list(vector) for text, vector in zip(chosen["text"], chosen["vector"], strict=True)
    } == expected
    assert len(frame) == len(made.card.layers) * 30
    arrow = pl.read_ipc(tmp_path / "a.arrow").filter(pl.col("layer") == 2)
    assert dict(zip(arrow["text"], arrow["vector"].to_list(), strict=True)) == expected
    rows = duckdb.sql(
        f"SELECT text, vector FROM '{tmp_path / 'a.parquet'}' WHERE layer = 2"
    ).fetchall()
    assert {text: list(vector) for text, vector in rows} == expected
    table = pd.read_csv(
        tmp_path / "a.csv", dtype={f"v{n}": np.float32 for n in range(made.card.dim)}
    )
    chosen = table[table["layer"] == "2"]
    numbers = chosen[[f"v{n}" for n in range(made.card.dim)]].to_numpy()
    assert dict(zip(chosen["text"], numbers.tolist(), strict=True)) == expected
