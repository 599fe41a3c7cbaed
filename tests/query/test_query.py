"""Metrics over a store: from summaries and from vectors, after any builds, over any rows."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import centred, mean_cosine
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import QueryError, UnknownNameError, UsageError


@settings(deadline=None, max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=4),
    offset=st.sampled_from([0.0, 0.2, 1.0, 3.0, 10.0]),  # anisotropies of 0 to .99
    dim=st.integers(2, 40),
    dtype=st.sampled_from(["float32", "float16"]),
    n_shards=st.integers(1, 3),
)
@pytest.mark.slow
def test_anisotropy_is_exact_after_any_builds(
    tmp_path_factory, seed, sizes, offset, dim, dtype, n_shards
):
    """1 - pdist, averaged, of what is stored: to 1e-9, raw and centred, from summaries and from
    vectors.
    """
    root = tmp_path_factory.mktemp("store")
    parts = []
    for number, size in enumerate(sizes):
        texts = [f"{number}.{place}" for place in range(size)]
        parts.append(
            synthetic_store(
                root,
                texts=texts,
                dim=dim,
                n_blocks=1,
                offset=offset,
                seed=seed + number,
                dtype=dtype,
                n_shards=n_shards,
                index=False,
            )
        )
    store, n = Store(root), sum(sizes)
    for variant in ("raw", "centred"):
        answers = [
            store.query("anisotropy", variant=variant),
            store.query("anisotropy", variant=variant, where="true"),
            store.query("anisotropy", variant=variant, sample=n),
        ]
        for place in range(3):
            x = np.concatenate([part.vectors[place] for part in parts])
            for answer in answers:
                row = answer.rows[place]
                if n == 1:
                    assert (row["anisotropy"], row["reason"]) == (
                        None,
                        "fewer than two non-zero vectors",
                    )
                else:
                    assert (row["n"], row["n_zero"]) == (n, 0)
                    right = mean_cosine(centred(x) if variant == "centred" else x)
                    assert row["anisotropy"] == pytest.approx(right, abs=1e-9, rel=0)


@pytest.mark.slow
def test_threads_may_ask_one_store(make_store):
    made = make_store(n=60, n_shards=6)
    words = [item.text for item in made.items]

    def ask(store, thread):
        word, layer = words[thread % len(words)], thread % 3
        return [
            store.neighbours(word, layers=layer, k=5).to_pylist(),
            store.query("norms", layers=layer, where=f"text <> '{word}'", cache=False).to_pylist(),
            store.vectors(made.space, layer)[1],
            store.sql(f"SELECT count(*) FROM items, spaces WHERE text < '{word}'").fetchall(),
        ]

    wanted = [ask(Store(made.root), thread) for thread in range(12)]
    store = Store(made.root)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(partial(ask, store), range(12))) == wanted


def test_a_relation_is_read_while_others_are_made(make_store):
    store = make_store(index=False).store
    relation = store.sql("SELECT count(*) FROM spaces")
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(lambda: [store.sql("SELECT 1") for _ in range(60)])
        counts = [relation.fetchall()]
        while not making.done():
            counts.append(relation.fetchall())
        making.result()
    assert counts == [[(1,)]] * len(counts)


def test_sql_is_answered_after_an_interrupt(make_store, monkeypatch):
    store = make_store(index=False).store

    class Interrupting(dict):
        def values(self):
            yield from super().values()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store.catalog, "cards", Interrupting(store.catalog.cards))
        with pytest.raises(KeyboardInterrupt):
            store.sql("SELECT count(*) FROM spaces")
    assert store.sql("SELECT count(*) FROM spaces").fetchall() == [(1,)]


def test_where_keeps_the_rows_that_it_is_true_for(make_store):
    made = make_store()
    kept = [place for place, text in enumerate(made.texts) if text.endswith("1")]
    for variant in ("raw", "centred"):
        for row in made.store.query(
            "anisotropy", variant=variant, where="text LIKE '%1' -- ends with 1"
        ):
            assert row["n"] == len(kept)
            x = made.layer(row["layer"])[kept]
            right = mean_cosine(centred(x) if variant == "centred" else x)
            assert row["anisotropy"] == pytest.approx(right, abs=1e-9)


def test_where_filters_each_space_by_its_own_items(make_store):
    make_store(n=10, index=False)
    made = make_store(n=15, unit="sentence", index=False)
    found = made.store.query("anisotropy", where="text < 'text12'", layers="top")
    assert dict(zip(found["unit"], found["n"], strict=True)) == {"word": 2, "sentence": 4}


def test_spaces_without_selected_items_are_passed_over(make_store):
    words = make_store(texts=["text1", "text2", "other"], index=False)
    sentences = make_store(n=15, unit="sentence", index=False)
    ask = sentences.store.query
    for options in ({"where": "unit = 'word'"}, {"words": ["other"]}):
        only = ask("anisotropy", layers="top", **options)
        assert set(only["unit"]) == {"word"}
        assert not any(sentences.space in note for note in only.notes)
        for metric in ("anisotropy", "cka"):
            named = ask(metric, spaces=[words.space, sentences.space], layers="top", **options)
            assert set(named["space"]) == {words.space}
            assert f"{sentences.space} is left out: none of its items is selected." in str(
                named.notes
            )
    for metric in ("anisotropy", "cka", "drift"):
        with pytest.raises(QueryError, match=r"^no item is selected: none fits `where`, `words`"):
            ask(metric, where="false")


def test_a_space_with_selected_items_is_kept_whatever_cannot_be_computed(make_store):
    made = make_store(n=10, index=False)
    zero = make_store(
        texts=made.texts, model="zero", vectors=np.zeros((5, 10, 8), np.float32), index=False
    )
    found = zero.store.query("anisotropy", where="text = 'text1' OR text = 'text2'", layers=0)
    assert dict(zip(found["space"], found["n"], strict=True)) == {made.space: 2, zero.space: 0}
    assert not any("selected" in note for note in found.notes)
    other = make_store(texts=["sea"], model="other", index=False)
    with pytest.raises(QueryError, match=r"no item in common\. (?!.*No item is selected)"):
        other.store.query("cka", spaces=made.space, against=other.space, where="text = 'text1'")


def test_a_sample_is_seeded_said_and_exact(make_store):
    made = make_store(n=60)
    rows = made.store.query("anisotropy", sample=20, seed=3).to_pylist()
    assert [(row["n"], row["sample"], row["seed"]) for row in rows] == [(20, 20, 3)] * 5
    assert made.store.query("anisotropy", sample=20, seed=3, cache=False).to_pylist() == rows
    assert made.store.query("anisotropy", sample=20, seed=4)["anisotropy"] != [
        row["anisotropy"] for row in rows
    ]
    rng = np.random.default_rng(3)
    drawn = rng.choice(np.sort(made.ids), 20, replace=False, shuffle=False)
    places = [made.ids.tolist().index(item) for item in drawn.tolist()]
    for row in rows:
        assert row["anisotropy"] == pytest.approx(
            mean_cosine(made.layer(row["layer"])[places]), abs=1e-9
        )


def test_a_sample_does_not_depend_on_how_the_store_was_built(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(5, 30, 8)).astype(np.float32)
    texts = [f"text{number}" for number in range(30)]
    single = synthetic_store(
        tmp_path / "one", texts=texts, vectors=vectors, n_shards=1, index=False
    )
    synthetic_store(
        tmp_path / "two", texts=texts[20:], vectors=vectors[:, 20:], n_shards=3, index=False
    )
    two = synthetic_store(tmp_path / "two", texts=texts[:20], vectors=vectors[:, :20], index=False)
    first, second = (
        made.store.query("anisotropy", sample=7, seed=1)["anisotropy"] for made in (single, two)
    )
    assert first == pytest.approx(second, abs=1e-12)


def test_where_comes_before_sample(make_store):
    made = make_store(n=60, index=False)
    found = made.store.query("anisotropy", where="text LIKE '%1'", sample=4)
    assert found["n"] == [4] * 5
    assert (found["where"][0], found["sample"][0]) == ("text LIKE '%1'", 4)
    few = made.store.query("anisotropy", where="text LIKE '%1'", sample=40)
    assert few["n"] == [6] * 5
    assert found.notes == ("n = 4; at most 4 items, drawn at random (seed 0).",)
    with pytest.raises(UsageError, match="sample must be at least 1"):
        made.store.query("anisotropy", sample=0)


def test_filters_choose_spaces(make_store):
    make_store(n=3, index=False, model="gpt2", checkpoint="openai-community/gpt2")
    make_store(n=3, index=False, model="gpt2", checkpoint="openai-community/gpt2", pooling="mean")
    make_store(
        n=3, index=False, model="clip", unit="sentence", pooling="eos", template="{bos}{text}{eos}"
    )
    store = make_store(
        n=3, index=False, model="gpt2", checkpoint="openai-community/gpt2", space="mine"
    ).store

    def spaces(**arguments):
        return list(dict.fromkeys(store.query("anisotropy", **arguments)["space"]))

    everything = ["clip.sentence.eos", "gpt2.word.last", "gpt2.word.mean", "mine"]
    assert spaces() == everything
    assert spaces(models="gpt2") == everything[1:]
    assert spaces(models="openai-community/gpt2") == everything[1:]
    assert spaces(models=["gpt2", "clip"], pooling="last") == ["gpt2.word.last", "mine"]
    assert spaces(spaces=["mine", "gpt2.word.mean"]) == ["gpt2.word.mean", "mine"]
    assert spaces(unit="sentence") == spaces(template="{bos}{text}{eos}") == ["clip.sentence.eos"]
    with pytest.raises(
        QueryError, match=r"no space matches model 'clip', pooling 'mean'\. The store holds: clip\."
    ):
        spaces(models="clip", pooling="mean")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"template": "{txt}"}, "unknown template field 'txt'. Did you mean 'text'"),
        ({"layers": "rw"}, r"unknown layer 'rw'\. Did you mean 'raw'\?[^W]*$"),
        (
            {"layers": "0..2"},
            r"unknown layer '0\.\.2'.*normed\. Write ranges as 0-6, and several layers as 0,3,6\.",
        ),
        ({"models": "toy,toy"}, r"unknown model 'toy,toy'\. Did you mean 'toy'\? Known: toy\."),
        (
            {"spaces": "toy.word.lst"},
            r"unknown space 'toy\.word\.lst'\. Did you mean 'toy\.word\.last'",
        ),
        ({"where": "tekst = 'a'"}, "unknown column 'tekst'. Did you mean 'text'"),
        ({"varient": "raw"}, "unknown parameter of anisotropy 'varient'. Did you mean 'variant'"),
    ],
)
def test_unknown_names_say_the_nearest(make_store, arguments, words):
    with pytest.raises(UnknownNameError, match=words):
        make_store(n=3, index=False).store.query(**{"metric": "anisotropy"} | arguments)


@pytest.mark.parametrize(
    ("metric", "parameters", "words"),
    [
        ("norms", {"top": -1}, "top must be at least 0"),
        ("norms", {"top": "five"}, "top must be a whole number"),
        ("isoscore", {"zeta": float("nan")}, "zeta must be a finite number, not nan"),
        ("alignment", {"alpha": 1e9}, "alpha must be at most 1000"),
        ("norms", {"sample": 2, "seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_parameters_out_of_range(make_store, metric, parameters, words):
    with pytest.raises(UsageError, match=words):
        make_store(n=3, index=False).store.query(metric, **parameters)


def test_spaces_take_the_layers_that_they_have_and_notes_say_what_they_lack(make_store):
    make_store(n=3, index=False, model="deep", n_blocks=12)
    store = make_store(n=3, index=False, model="flat", n_blocks=6, top_form=None).store

    def layers(spec, named=()):
        found = store.query("anisotropy", layers=spec, models=named)
        names = {}
        for row in found:
            names.setdefault(row["model"], []).append(row["layer_name"])
        return names, "\n".join(found.notes)

    assert layers("top")[0] == {"deep": ["12"], "flat": ["6"]}
    assert layers("-1")[0] == {"deep": ["12"], "flat": ["6"]}
    assert "has no layer" not in layers("6,12")[1]  # nobody asked for that space
    names, notes = layers("6,12", ["flat", "deep"])
    assert names == {"deep": ["6", "12"], "flat": ["6"]}
    assert "flat.word.last has no layer '12' (it has 0, 1, 2, 3, 4, 5, 6)." in notes
    names, notes = layers("raw", ["flat.word.last", "deep"])
    assert names == {"deep": ["raw"]}
    assert "flat.word.last has no layer 'raw'" in notes
    names, notes = layers("5-9")
    assert names == {"deep": ["5", "6", "7", "8", "9"], "flat": ["5", "6"]}
    assert "the range" not in notes
    names, notes = layers("11-99")
    assert names == {"deep": ["11", "12"]}
    assert (
        "the range 11-99 ends at layer 12: deep.word.last has no higher layer, and no other space"
        " has." in notes
    )
    header, lines = store.query("anisotropy").layout()
    assert header == ["layer", "deep.word.last", "flat.word.last"]
    assert [line[0] for line in lines] == [*map(str, range(13)), "raw"], "2 before 10"
    known = ", ".join(map(str, range(13)))
    with pytest.raises(
        UnknownNameError, match=f"unknown layer '13'. Known: {known}, raw, all, top, normed"
    ):
        layers("0,13")


_IMPORTS = """
import sys
from embstore import Store
store = Store(sys.argv[1])
for question in sys.argv[2:]:
    exec(question)
    print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "questions",
    [
        {
            'for name in ("anisotropy", "rogue-dims"): store.query(name)': (
                "pyarrow faiss scipy duckdb"
            ),
            'store.query("norms", top=0)': "pyarrow faiss scipy duckdb",
            "store.info(); store.skipped()": "faiss scipy",
            'store.neighbours("text1", where="length(text) > 0")': "scipy",
            'assert store.neighbours("text1", layers="all").notes == ()': "scipy",
        },
        {
            'store.sql("SELECT count(*) FROM embeddings").fetchall()': "faiss scipy",
            'store.query("anisotropy", variant="centred", where="true", sample=3)': "faiss scipy",
        },
    ],
    ids=["summaries and neighbours", "sql and vectors"],
)
def test_a_question_imports_only_what_it_needs(make_store, questions):
    """Questions of one process, each of which may load more than the ones before it."""
    made = make_store(n=20)
    command = [sys.executable, "-c", _IMPORTS, made.root, *questions]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for forbidden, line in zip(questions.values(), done.stdout.splitlines(), strict=True):
        loaded = set(line.split())
        assert "numpy" in loaded
        assert not loaded & {
            *forbidden.split(),
            "torch",
            "transformers",
            "pandas",
            "polars",
            "huggingface_hub",
        }


@pytest.mark.parametrize("metric", ["anisotropy", "rogue-dims", "hubness", "cka"])
def test_results_with_and_without_values_have_the_same_types(make_store, metric):
    store = make_store(n=20, index=False).store
    full, empty = (store.query(metric, sample=n, layers="0-1") for n in (19, 1))
    assert set(full["reason"]) == {None}
    assert None not in empty["reason"]
    assert full.to_arrow().schema == empty.to_arrow().schema
    assert full.to_polars().vstack(empty.to_polars()).height == len(full) + len(empty)
