"""Other programs open what is exported, and their files are read."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from exchanged import assert_same_layer
from synthetic import Synthetic, synthetic_store

from embstore import Store
from embstore.base.errors import EmbstoreError

WORDS = ["dog", "cat", "sun", "naïve", "日本"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synthetic_store(tmp_path_factory.mktemp("made") / "store", n=30, n_blocks=2, index=False)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def _expected(made: Synthetic, layer: int) -> dict[str, list[float]]:
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


def test_datasets_loads_its_export_and_what_it_saves_is_read(made, store, tmp_path):
    datasets = pytest.importorskip("datasets")

    made.store.export(tmp_path / "out", made.space, format="datasets")
    rows = datasets.load_dataset(
        str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert dict(zip(rows["text"], rows["layer_1"], strict=True)) == _expected(made, 1)
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

    file = tmp_path / ("a.bin" if binary else "a.vec")
    made.store.export(file, made.space, layers=1)
    loaded = models.KeyedVectors.load_word2vec_format(str(file), binary=binary)
    assert {key: loaded[key].tolist() for key in loaded.index_to_key} == _expected(made, 1)
    again = tmp_path / file.name.replace("a", "b")
    loaded.save_word2vec_format(str(again), binary=binary)
    store.import_vectors(again, "again")
    store.import_vectors(file, "same")
    _, texts, vectors = store.vectors("again", 0)
    expected = _expected(made, 1)
    assert np.allclose(vectors, [expected[text] for text in texts], atol=1e-6)
    if binary:
        assert_same_layer(
            store, "same", "1", "again", "0"
        )  # the card beside the file names its layer


def test_gensims_own_format_needs_consent(store, tmp_path):
    models = pytest.importorskip("gensim.models")

    keyed = models.KeyedVectors(3)
    keyed.add_vectors(WORDS, np.arange(15, dtype=np.float32).reshape(5, 3))
    keyed.save(str(tmp_path / "a.kv"), separately=["vectors"])
    with pytest.raises(EmbstoreError, match="is a pickle, as gensim saves vectors"):
        store.import_vectors(tmp_path / "a.kv", "mine")
    store.import_vectors(tmp_path / "a.kv", "mine", allow_pickle=True)
    _, texts, vectors = store.vectors("mine", 0)
    assert {text: vector.tolist() for text, vector in zip(texts, vectors, strict=True)} == {
        word: keyed[word].tolist() for word in WORDS
    }
    assert len(store.catalog.cards["mine"].imported["files"]) == 2


@pytest.mark.filterwarnings(
    "ignore:The 'future.infer_string' option is deprecated"
)  # of anndata's, not of ours
@pytest.mark.parametrize("sparse", [False, True])
def test_anndata_is_read(store, tmp_path, sparse):
    anndata = pytest.importorskip("anndata")
    from scipy.sparse import csr_matrix

    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    data = anndata.AnnData(csr_matrix(values) if sparse else values)
    data.obs_names = WORDS
    data.obsm["pca"] = values[:, :2] * 2
    data.write_h5ad(tmp_path / "a.h5ad")
    store.import_vectors(tmp_path / "a.h5ad", "x")
    store.import_vectors(tmp_path / "a.h5ad", "pca", vector_column="pca")
    for space, expected in (("x", values), ("pca", values[:, :2] * 2)):
        _, texts, vectors = store.vectors(space, 0)
        assert (vectors == expected[[WORDS.index(text) for text in texts]]).all()


def test_pandas_polars_and_duckdb_read_the_tables(made, tmp_path):
    import duckdb
    import pandas as pd
    import polars as pl

    for name in ("a.parquet", "a.arrow", "a.csv"):
        made.store.export(tmp_path / name, made.space)
    made.store.export(tmp_path / "wide.parquet", made.space, format="parquet-wide")
    expected = _expected(made, 2)
    frame = pd.read_parquet(tmp_path / "a.parquet")
    chosen = frame[frame["layer"] == 2]
    assert {
        text: list(vector) for text, vector in zip(chosen["text"], chosen["vector"], strict=True)
    } == expected
    assert len(frame) == len(made.card.layers) * 30
    arrow = pl.read_ipc(tmp_path / "a.arrow").filter(pl.col("layer") == 2)
    assert dict(zip(arrow["text"], arrow["vector"].to_list(), strict=True)) == expected
    rows = duckdb.sql(f"SELECT text, layer_2 FROM '{tmp_path / 'wide.parquet'}'").fetchall()
    assert {text: list(vector) for text, vector in rows} == expected
    table = pd.read_csv(
        tmp_path / "a.csv", dtype={f"v{n}": np.float32 for n in range(made.card.dim)}
    )
    chosen = table[table["layer"] == "2"]
    numbers = chosen[[f"v{n}" for n in range(made.card.dim)]].to_numpy()
    assert dict(zip(chosen["text"], numbers.tolist(), strict=True)) == expected


def test_the_projector_gets_a_table_for_each_layer(made, tmp_path):
    made.store.export(tmp_path / "out", made.space, format="projector")
    texts = (tmp_path / "out" / "metadata.tsv").read_text().splitlines()
    for layer in made.card.layers:
        vectors = np.loadtxt(
            tmp_path / "out" / f"layer_{layer.name}.tsv", delimiter="\t", dtype=np.float32
        )
        assert dict(zip(texts, vectors.tolist(), strict=True)) == _expected(made, layer.id)
    config = (tmp_path / "out" / "projector_config.pbtxt").read_text()
    assert re.findall(r'tensor_path: "(.+)"', config) == [
        f"layer_{layer.name}.tsv" for layer in made.card.layers
    ]
    assert config.count("{") == config.count("}") == len(made.card.layers)


CHART = {
    "type": "object",
    "required": ["type", "data"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "embedding"},
        "title": {"type": "string"},
        "data": {
            "type": "object",
            "required": ["x", "y"],
            "additionalProperties": False,
            "properties": {name: {"type": "string"} for name in ("x", "y", "text", "neighbors")},
        },
    },
}
"""What embedding-atlas 0.26 accepts as a chart of the type embedding, as far as an export writes
it.
"""


def test_embedding_atlas_gets_maps_neighbours_and_a_state(tmp_path):
    import pandas as pd
    from jsonschema import validate

    made = synthetic_store(tmp_path / "store", n=30, n_blocks=1, top_form=None, index=False)
    report = made.store.export(tmp_path / "out", made.space, format="embedding-atlas")
    assert (
        "--x x_0 --y y_0 --neighbors neighbors_0 --text text --state state.json" in report.notes[-1]
    )
    state = json.loads((tmp_path / "out" / "state.json").read_text())
    frame = pd.read_parquet(tmp_path / "out" / "data.parquet")
    assert state["layouts"][state["currentLayout"]]["chartIds"] == [*state["charts"]]
    items = state["charts"].pop("items")
    assert (items["type"], {*items["columns"]} <= {*frame.columns}) == ("instances", True)
    for chart in state["charts"].values():
        validate(chart, CHART)
        assert {*chart["data"].values()} <= {*frame.columns}
    placements = state["layouts"][state["currentLayout"]]["grids"]["24x18"]["placements"]
    cells = [
        (x, y)
        for place in placements.values()
        for x in range(place["x"], place["x"] + place["width"])
        for y in range(place["y"], place["y"] + place["height"])
    ]
    assert {*placements} == {*state["charts"], "items"}
    assert len(cells) == len({*cells}) == 24 * 18
    assert frame["item_id"].map(type).eq(str).all()  # the page cannot show integers above 2**53
    frame["item_id"] = frame["item_id"].astype("int64")
    for layer in (0, 1):
        ids, positions = made.store.map_points(made.space, layer)
        expected = dict(zip(ids.tolist(), positions.tolist(), strict=True))
        assert (
            dict(
                zip(
                    frame["item_id"],
                    frame[[f"x_{layer}", f"y_{layer}"]].to_numpy().tolist(),
                    strict=True,
                )
            )
            == expected
        )
        vectors = dict(zip(made.ids.tolist(), made.layer(layer).astype(np.float64), strict=True))
        units = np.array(
            [vectors[item] / np.linalg.norm(vectors[item]) for item in frame["item_id"]]
        )
        distances = 1 - units @ units.T
        np.fill_diagonal(distances, np.inf)
        for row, found in enumerate(frame[f"neighbors_{layer}"]):
            assert row not in found["ids"]
            np.testing.assert_allclose(found["distances"], np.sort(distances[row])[:15], atol=1e-6)
            np.testing.assert_allclose(distances[row][found["ids"]], found["distances"], atol=1e-6)
    with pytest.raises(EmbstoreError, match="leave transforms= out"):
        made.store.export(tmp_path / "b", made.space, format="embedding-atlas", transforms="center")
    made.store.map(method="tsne")
    again = made.store.export(tmp_path / "c", made.space, format="embedding-atlas")
    assert "method tsne" in again.notes[-1]
