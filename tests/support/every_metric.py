"""A store in which every metric can be asked, and queries of every kind whose answers it keeps."""

import numpy as np
from datasets_written import write_analogies, write_lexicon, write_pairs
from kept_columns import write_columns
from synthetic import synthetic_store

from embstore import Store
from embstore.metrics import METRICS

WORDS = [f"word{number}" for number in range(30)]
SENTENCES = ["the bank of the river", "the bank lends the money", "a river of money by the bank"]
INPUTS = {
    "correlate": {"column": "freq"},
    "valnorm": {"pleasant": WORDS[:5], "unpleasant": WORDS[5:10]},
    "weat": {"x": WORDS[:10], "y": WORDS[10:20], "a": WORDS[20:24], "b": WORDS[24:28]},
    "sc-weat": {"word": WORDS[20:22], "a": WORDS[:10], "b": WORDS[10:20]},
    "axis": {"positive": WORDS[:3], "negative": WORDS[3:6]},
    "ceat": {"x": ["the", "of"], "y": ["bank"], "a": ["river"], "b": ["money"]},
    "change": {"by": "position", "bins": "0,3,9", "min_contexts": 2},
    **{name: {"label": "freq", "label_bins": "2"} for name in ("knn", "clusters")},
    "probe": {"label": "freq", "label_bins": "2", "folds": 2, "repeats": 1},
}
SETS = {
    "x": WORDS[:4],
    "y": WORDS[4:8],
    "a": WORDS[8:12],
    "b": [*WORDS[12:16], "nowhere"],
    "missing": "skip",
}

LABELS = {"label": "freq", "spaces": "toy.word.last"}
ASKED_BELOW = {
    "anisotropy", "correlate", "rogue-dims", "weat", "sc-weat", "knn", "clusters", "probe", "axis",
    "ceat",
    "change",  # whose groups are looked up each time, as those of all groups are
}  # fmt: skip

# Queries of each metric; several where it has more than one way to read the vectors.
QUERIES = [
    *((name, {}) for name in METRICS if name not in ASKED_BELOW),
    ("correlate", {"column": "zipf_frequency", "value": "hubness", "k": 2}),
    (
        "correlate",
        {
            "column": "zipf_frequency",
            "value": "axis",
            "positive": WORDS[:2],
            "negative": WORDS[2:4],
            "spaces": "toy.word.last",
        },
    ),
    ("knn", {**LABELS, "label_bins": "0,6,11", "k": 3}),
    ("clusters", {**LABELS, "label_bins": "0,6,11", "runs": 2}),
    ("probe", {**LABELS, "label_bins": "0,6,11", "control": False, "layers": "0"}),
    ("probe", {**LABELS, "seed": 3}),
    ("axis", {"positive": WORDS[:2], "negative": WORDS[2:4], "spaces": "toy.word.last"}),
    (
        "ceat",
        {
            "x": ["bank", "river"],
            "y": ["money", "of"],
            "a": ["the"],
            "b": ["a", "nowhere"],
            "missing": "skip",
        },
    ),
    ("cka", {"spaces": "toy.word.last", "permutations": 19, "over": "max", "seed": 3}),
    ("intrinsic-dimension", {"estimator": "gride"}),
    ("anisotropy", {"std": True}),
    ("anisotropy", {"where": "length(text) > 5", "sample": 10, "seed": 3}),
    ("rogue-dims", {"k": 2, "transforms": ["center", "abtt:1"]}),
    ("norms", {"sample": 500, "spaces": "toy.word.last"}),
    ("isoscore", {"transforms": "drop:1", "layers": "0,2", "where": "text LIKE '%1%'"}),
    ("similarity", {"dataset": ["pairs"], "missing": "skip", "seed": 4}),
    ("weat", SETS),
    (
        "sc-weat",
        {"spaces": "toy.word.last", "word": WORDS[:3], "a": WORDS[8:12], "b": WORDS[12:16]},
    ),
    ("axis", {"spaces": "toy.word.last", "positive": WORDS[:3], "negative": WORDS[3:6], "top": 2}),
    ("ceat", {"x": ["the"], "y": ["bank"], "a": ["river"], "b": ["money"], "draws": 9}),
    ("change", {"by": "position", "bins": "0,3,9", "min_contexts": 2, "permutations": 9}),
    *(
        (name, {"label": "position", "label_bins": "0,2,9"})
        for name in ("knn", "clusters", "probe")
    ),
    ("self-similarity", {"per_word": True, "adjusted": True}),
    ("mev", {"word": ["the"], "seed": 2}),
    ("cka", {"where": "item_id % 2 = 0", "transforms": "standardize"}),
    ("overlap", {"k": 3, "against": "other.word.last"}),
    ("rsa", {"sample": 500, "layers": "1-9"}),
]


def write_inputs(made):
    """Write what metrics need of a store of words: pairs, a lexicon and analogies of ``WORDS``, and
    a column.
    """
    values = {
        name: np.random.default_rng(seed).uniform(1, 5, 20).tolist()
        for seed, name in enumerate(("valence", "arousal"))
    }
    write_pairs(made, "pairs", texts=WORDS)
    write_lexicon(made, WORDS[:20], **values)
    write_analogies(made, "questions", [WORDS[i : i + 4] for i in range(6)], [*"aaabbb"])
    write_columns(made, {"freq": [WORDS.index(text) * 7 % 11 for text in made.texts]})


def prepare(root, **options):
    """A store of words, with what metrics need, of sentences and of occurrences."""
    options = {"dim": 6, "n_blocks": 1, "top_form": None, "index": False, **options}
    for unit, pooling in (("occurrence", "last"), ("sentence", "mean")):
        synthetic_store(root, texts=SENTENCES, unit=unit, pooling=pooling, **options)
    made = synthetic_store(root, texts=WORDS, **options)
    write_inputs(made)
    return made


def ask(root, metric, **question):
    if metric == "valnorm":
        question = {"missing": "skip", "pleasant": WORDS[:3], "unpleasant": WORDS[3:6]} | question
    # A space without any of the words is left out, and looked at each time.
    if metric in ("weat", "sc-weat"):
        question = {"unit": "word"} | question
    return Store(root).query(metric, **question)


def stored(root):
    return sorted((root / "derived" / "answers").glob("*"))
