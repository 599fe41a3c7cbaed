"""Occurrences at given spans: their vectors against plain transformers and minicons, and builds of
them in parts.
"""

import warnings
from functools import cache

import numpy as np
import pytest
from sound_stores import problems_of

pytest.importorskip("torch")
pytest.importorskip("transformers")

from encode_models import bert, gpt2, llama
from encode_witness import Witness, worst
from tiny_checkpoint import assert_same_content, content

from embstore import Store
from embstore.base.space import Pooling
from embstore.base.text import Item, Span

POOLINGS = ("last", "first", "mean")
ROWS = [
    ("the bank of the river is where the bank was", 4, 8),
    ("the bank of the river is where the bank was", 35, 39),
    ("the bank of the river is where the bank was", 4, 21),
    ("Zoë's café, the New York bank!", 16, 24),
    ("Zoë's café, the New York bank!", 0, 5),
    ("unbelievably", 0, 12),
    ("I 😀 banks", 2, 3),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return cache(lambda kind: kind(root / kind.__name__))


def spans_file(path, rows=ROWS):
    path.write_text(
        "text,start,end\n" + "".join(f'"{text}",{start},{end}\n' for text, start, end in rows),
        "utf-8",
    )
    return path


def ids(rows=ROWS):
    return [Item.occurrence(text, Span(start, end)).id for text, start, end in rows]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [gpt2, bert, llama], ids=lambda kind: kind.__name__)
def test_targets_equal_a_plain_call_of_transformers_under_all_poolings(tmp_path, folder, kind):
    witness, store = Witness(folder(kind)), Store(tmp_path / "store")
    store.build(
        str(spans_file(tmp_path / "s.csv")),
        models=f"tiny={folder(kind)}",
        span="start,end",
        poolings=POOLINGS,
        index="none",
    )
    found = content(tmp_path / "store")
    largest = 0.0
    for pooling in POOLINGS:
        layers = found[f"tiny.occurrence.{pooling}"]
        assert {item for layer in layers.values() for item in layer} == set(ids())
        for (text, start, end), item in zip(ROWS, ids(), strict=True):
            actual = np.stack([layers[number][item] for number in sorted(layers)])
            expected = witness.vector(text, start, end, Pooling(pooling), None)
            largest = max(largest, worst(actual, expected))
    assert largest <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", [gpt2, bert], ids=lambda kind: kind.__name__)
def test_targets_equal_what_minicons_extracts(tmp_path, folder, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cwe = pytest.importorskip("minicons.cwe", reason="minicons is not installed")
        extractor = cwe.CWE(str(folder(kind)))
        # Of a word that recurs, minicons takes the last one.
        rows = [ROWS[1], ROWS[2], ("a New York bank", 2, 10)]
        hidden = extractor.extract_representation(
            [(text, (start, end)) for text, start, end in rows], layer="all"
        )
    store = Store(tmp_path / "store")
    source = str(spans_file(tmp_path / "s.csv", rows))
    store.build(
        source, models=f"tiny={folder(kind)}", span="start,end", poolings="mean", index="none"
    )
    layers = content(tmp_path / "store")["tiny.occurrence.mean"]
    for number, expected in enumerate(hidden):
        actual = np.stack([layers[number][item] for item in ids(rows)])
        assert np.abs(actual - expected.numpy()).max() <= 1e-5


def test_a_target_is_the_occurrence_that_all_words_have(tmp_path, checkpoint):
    model = f"tiny={checkpoint}"
    (tmp_path / "all.txt").write_text(ROWS[0][0], "utf-8")
    (tmp_path / "marked.txt").write_text("the [bank] of the river is where the bank was\n", "utf-8")
    Store(tmp_path / "all").build(
        str(tmp_path / "all.txt"), models=model, unit="occurrence", index="none"
    )
    Store(tmp_path / "one").build(
        str(tmp_path / "marked.txt"), models=model, targets="brackets", index="none"
    )
    spaces = [content(tmp_path / name)["tiny.occurrence.last"] for name in ("all", "one")]
    for layer in spaces[1]:
        assert [*spaces[1][layer]] == ids(ROWS[:1])
        np.testing.assert_allclose(
            spaces[1][layer][ids()[0]], spaces[0][layer][ids()[0]], atol=1e-5
        )
    again = Store(tmp_path / "all").build(
        str(tmp_path / "marked.txt"), models=model, targets="brackets"
    )
    assert [(space.embedded, space.present) for space in again.spaces] == [(0, 1)]
    [row] = (
        Store(tmp_path / "one")
        .sql("SELECT text, start, \"end\" FROM items WHERE unit = 'occurrence'")
        .fetchall()
    )
    assert row == ("bank", 4, 8)
    assert problems_of(Store(tmp_path / "one")) == []


@pytest.mark.slow
def test_parts_make_the_same_store(tmp_path, checkpoint):
    options = {"models": f"tiny={checkpoint}", "span": "start,end", "shard_bytes": 2000}
    options |= {"index": "none"}
    source = str(spans_file(tmp_path / "s.csv"))
    estimated = Store(tmp_path / "whole").build(source, dry_run=True, **options)
    whole = Store(tmp_path / "whole").build(source, **options)
    assert (estimated.n_tokens, estimated.n_items) == (whole.n_tokens, len(ROWS))
    for number in (1, 2):
        Store(tmp_path / "parts").build(source, shard=f"{number}/2", **options)
    assert_same_content(tmp_path / "whole", tmp_path / "parts")


def test_a_target_without_tokens_is_skipped_with_its_reason(tmp_path, folder):
    rows = [("the bank", 4, 8), ("the \u200b bank", 4, 5), ("the  bank", 3, 5)]
    source = spans_file(tmp_path / "s.csv", rows)
    report = Store(tmp_path / "store").build(
        str(source), models=f"tiny={folder(bert)}", span="start,end"
    )
    assert (report.spaces[0].embedded, dict(report.spaces[0].skipped)) == (1, {"no tokens": 2})
    found = {
        (row["text"], row["reason"], row["origin"])
        for row in Store(tmp_path / "store").skipped().to_pylist()
    }
    assert found == {("\u200b", "no tokens", f"{source}:3"), ("  ", "no tokens", f"{source}:4")}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"unit": "word"}, "targets in sentences are occurrences, not words"),
        ({"unit": "sentence"}, "targets in sentences are occurrences, not sentences"),
        ({"per_text": 1}, "per_text"),
        ({"targets": "brackets"}, "give one of them"),
    ],
)
def test_options_that_do_not_fit_targets_are_refused(tmp_path, options, reason):
    from embstore.base.errors import UsageError

    with pytest.raises(UsageError, match=reason):
        Store(tmp_path / "store").build(
            str(spans_file(tmp_path / "s.csv")), span="start,end", **options
        )
    with pytest.raises(UsageError, match="no source is one"):
        Store(tmp_path / "store").build("words", span="start,end", models="gpt2")
