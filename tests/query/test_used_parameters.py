"""The parameters in a result are those that had an effect; those that another makes useless are
refused.
"""

import hashlib

import pytest
from datasets_written import write_lexicon
from kept_columns import write_columns as write_kept

from embstore.base.errors import UsageError

SETS = {
    "x": "text0,text1,text2",
    "y": ["text3", "text4"],
    "a": "text5,text6,gone",
    "b": "text7,text8",
}

PLEASANT = {"pleasant": "text1,text2", "unpleasant": "text3,text4"}

USED = [
    ("rsa", {}, {"pairs": None, "seed": None}),
    ("rsa", {"correlation": "spearman", "pairs": 10}, {"pairs": 10, "seed": 0}),
    ("rsa", {"correlation": "spearman"}, {"pairs": None, "n_pairs": 66, "seed": None}),
    ("hubness", {"k": 50}, {"k": 11}),
    ("correlate", {"column": "freq", "value": "hubness", "k": 50}, {"k": 11}),
    ("rogue-dims", {"k": 50}, {"k": 8}),
    ("spectrum", {"k": 50}, {"k": 8}),
    ("intrinsic-dimension", {}, {"discard": 0.1, "neighbours": None}),
    ("intrinsic-dimension", {"estimator": "gride"}, {"discard": None, "neighbours": 11}),
    (
        "weat",
        {**SETS, "missing": "skip"},
        {
            "x": ["text0", "text1", "text2"],
            "y": ["text3", "text4"],
            "a": ["text5", "text6"],
            "b": ["text7", "text8"],
            "exact": True,
            "permutations": None,
            "seed": None,
        },
    ),
    (
        "sc-weat",
        {"word": "text1", **{name: SETS[name] for name in "ab"}, "missing": "skip"},
        {"word": "text1", "a": ["text5", "text6"], "permutations": None},
    ),
    (
        "axis",
        {"positive": "text1,text2", "negative": ["text3"], "words": "text1,text5"},
        {"positive": ["text1", "text2"], "negative": ["text3"], "n": 2},
    ),
    ("valnorm", PLEASANT, {"pleasant": ["text1", "text2"], "value": "valence"}),
    (
        "valnorm",
        {**PLEASANT, "missing": "skip", "words": "text0,text1,text3,text9"},
        {"pleasant": ["text1"], "unpleasant": ["text3"]},
    ),
    (
        "correlate",
        {"column": "freq", "value": "axis", "positive": ["text1"], "negative": ["text2"]},
        {"positive": ["text1"]},
    ),
    ("correlate", {"column": "freq"}, {"positive": None, "negative": None, "k": None}),
    ("predictivity", {}, {"grouped_by": "item"}),
    ("predictivity", {"group": "kind"}, {"grouped_by": "kind"}),
]


@pytest.fixture
def made(make_store):
    made = make_store(n=12, n_blocks=1, index=False)
    write_kept(
        made,
        {"freq": [float(n * n % 7) for n in range(12)], "kind": [f"k{n % 6}" for n in range(12)]},
    )
    write_lexicon(made, made.texts)
    return made


@pytest.mark.parametrize(("metric", "asked", "used"), USED, ids=[metric for metric, *_ in USED])
def test_rows_have_the_values_that_were_used(made, metric, asked, used):
    for _ in range(2):  # computed, and as stored
        found = made.store.query(metric, layers=1, **asked)
        assert {name: found.rows[0][name] for name in used} == used
    drawn = [note for note in found.notes if note.startswith(f"{metric}: ")]
    assert not any("permutations" in note or "discard" in note for note in drawn)


USELESS = [
    (
        "intrinsic-dimension",
        {"estimator": "gride", "discard": 0.2},
        "discard=0.2 has an effect with estimator='twonn' alone: add that",
    ),
    (
        "intrinsic-dimension",
        {"neighbours": 9},
        "neighbours=9 has an effect with estimator='gride' or estimator='mle' alone: add that",
    ),
    (
        "correlate",
        {"column": "freq", "k": 3},
        "k=3 has an effect with value='hubness' alone: add that, or leave `k` out",
    ),
    ("rsa", {"pairs": 10}, "pairs=10 has an effect with correlation='spearman' alone: add that"),
    (
        "self-similarity",
        {"word": "the", "per_word": True},
        "`per_word` has no effect with `word`: leave one of them out",
    ),
]


@pytest.mark.parametrize(("metric", "asked", "message"), USELESS)
def test_what_has_no_effect_is_refused(made, metric, asked, message):
    with pytest.raises(UsageError) as refused:
        made.store.query(metric, **asked)
    assert message in str(refused.value)


def test_long_lists_are_named_by_their_first_words_and_hash(made, tmp_path):
    words = "".join(f"text{n}\n" for n in range(8))
    (tmp_path / "words.txt").write_text(words)
    sha = hashlib.sha256(words.encode()).hexdigest()
    found = made.store.query(
        "axis", positive=str(tmp_path / "words.txt"), negative=["text9"], layers=1, top=1
    )
    short = f"text0,text1,text2 … (8 words, SHA-256 {sha[:12]})"
    assert found["positive"][0] == words.split()
    assert f"positive: {short}" in found.plot().figure.about["description"]
    listed = made.store.query("norms", words=str(tmp_path / "words.txt"), layers=1)
    assert listed["words_sha256"] == [sha]


def test_parameters_of_text_take_numbers_as_the_command_line_does(made):
    options = {"label": "freq", "k": 2, "layers": 1}
    assert (
        made.store.query("knn", label_bins=2, **options).rows
        == made.store.query("knn", label_bins="2", **options).rows
    )
    edges = made.store.query("knn", label_bins=[0, 2, 7], **options)
    assert edges["label_bins"] == ["0,2,7"]
    found = made.store.query("knn", versus=0, **options | {"label_bins": 2, "layers": [0, 1]})
    assert [row["versus"] for row in found if row["difference"] is not None] == ["0"]
    both = {"column": "freq", "layers": [0, 1]}
    assert (
        made.store.query("correlate", versus=1, **both).rows
        == made.store.query("correlate", versus="1", **both).rows
    )
