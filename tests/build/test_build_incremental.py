"""What a build writes: the same whatever the order, the pieces and the number of builds."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from store_writing import replace_card
from tiny_checkpoint import DIM, LAYERS, assert_same_content, card, content, stored_files, texts

from embstore import Store
from embstore.base.errors import DamagedError, EncodeError, SpaceMismatchError, UsageError
from embstore.base.space import Unit
from embstore.base.text import WORD_RULE, Item, word_boundaries

WORDS = [
    f"{a}{b}{c}"
    for a in ("sea", "quick", "", "bank")
    for b in ("s", "shell", "The")
    for c in ("", "ing", "'é")
]
SENTENCES = [
    "The river bank flooded.",
    "She sells sea shells.",
    "The bank raised rates; the other bank did not.",
]


def _done(report):
    return {space.space: (space.embedded, space.present) for space in report.spaces}


def test_every_layer_of_every_word_is_stored_under_its_id(build, source, tmp_path):
    report = build(source(*WORDS))
    stored = content(tmp_path / "store")
    ids = {Item.whole(Unit.WORD, word).id for word in WORDS}
    assert _done(report) == {"tiny.word.last": (len(WORDS), 0)}
    assert [set(layer) for layer in stored["tiny.word.last"].values()] == [ids] * len(LAYERS)
    assert texts(tmp_path / "store") == {Item.whole(Unit.WORD, word).id: word for word in WORDS}
    assert Store(tmp_path / "store").verify().ok


@pytest.mark.slow
def test_neither_parts_nor_the_order_of_sources_matter(build, source, tmp_path):
    whole, first, second = (
        source(*WORDS),
        source(*WORDS[:11], name="a.txt"),
        source(*WORDS[7:], name="b.txt"),
    )
    build(whole, "whole")
    build(first, "parts")
    report = build(second, "parts", batch_tokens=7)
    assert _done(report) == {"tiny.word.last": (len(WORDS) - 11, 4)}
    assert_same_content(tmp_path / "whole", tmp_path / "parts")
    build([source(*reversed(WORDS[7:]), name="b.txt"), first], "turned")
    assert_same_content(tmp_path / "whole", tmp_path / "turned")


@pytest.mark.slow
def test_small_shards_hold_what_one_shard_holds(build, source, tmp_path):
    build(source(*WORDS), "one")
    build(source(*WORDS), "many", shard_bytes=5 * DIM * 4)
    shards = stored_files(tmp_path / "many", "vectors/space=tiny.word.last/layer=00/")
    sizes = [pq.ParquetFile(file).metadata.num_rows for file in shards]
    assert sum(sizes) == len(WORDS)
    # Ranges of ids of equal length hold about equally many.
    assert -(-len(WORDS) // 5) >= len(sizes) >= len(WORDS) // 10
    assert max(sizes) <= 10
    assert_same_content(tmp_path / "one", tmp_path / "many")
    assert Store(tmp_path / "many").verify().ok


def test_building_again_writes_nothing_and_loads_nothing(build, source, tmp_path, monkeypatch):
    build(source(*WORDS), poolings=["last", "mean"])
    before = _files(tmp_path / "store")
    monkeypatch.setattr("embstore.build.job.Encoder", _fail)
    observed = []
    report = build(source(*WORDS), poolings=["last", "mean"], progress=observed.append)
    assert _done(report) == {"tiny.word.last": (0, len(WORDS)), "tiny.word.mean": (0, len(WORDS))}
    assert (report.n_tokens, report.n_bytes, observed) == (0, 0, [])
    assert _files(tmp_path / "store") == before


def test_several_poolings_come_from_one_forward_pass(build, source, monkeypatch):
    calls = _count_forward_passes(monkeypatch)
    single = build(source(*WORDS), "one", poolings="last", batch_tokens=30)
    n_one = len(calls)
    three = build(source(*WORDS), "three", poolings=["last", "first", "mean"], batch_tokens=30)
    assert len(calls) - n_one == n_one
    assert single.n_forward_passes == three.n_forward_passes > 1
    # Loading runs the model to verify its layers.
    assert 0 <= n_one - single.n_forward_passes <= 3


def test_a_pooling_can_be_added_later(build, source, tmp_path):
    build(source(*WORDS), "once", poolings=["last", "mean"])
    build(source(*WORDS[:9]), "later")
    report = build(source(*WORDS), "later", poolings=["mean", "last"])
    assert _done(report) == {
        "tiny.word.mean": (len(WORDS), 0),
        "tiny.word.last": (len(WORDS) - 9, 9),
    }
    assert_same_content(tmp_path / "once", tmp_path / "later")


def test_several_models_stand_side_by_side_if_their_names_differ(
    build, source, checkpoint, tmp_path
):
    report = build(source(*WORDS), models=[f"a={checkpoint}", f"b={checkpoint}"])
    assert _done(report) == {"a.word.last": (len(WORDS), 0), "b.word.last": (len(WORDS), 0)}
    stored = content(tmp_path / "store")
    assert stored["a.word.last"].keys() == stored["b.word.last"].keys()
    assert len(texts(tmp_path / "store")) == len(WORDS)
    with pytest.raises(
        UsageError, match=r"two of the models make the same space, 'tiny\.word\.last'"
    ):
        build(source("dog"), "other", models=[str(checkpoint), f"{checkpoint}/."])
    assert not (tmp_path / "other").exists()
    assert len(build(source("dog"), "other", models=[str(checkpoint), str(checkpoint)]).spaces) == 1


def test_float16_halves_the_vectors_and_is_close(build, source, tmp_path):
    build(source(*WORDS), "full")
    build(source(*WORDS), "half", dtype="float16")
    space = "tiny.word.last"
    _, _, full = Store(tmp_path / "full").vectors(space, 2)
    _, _, half = Store(tmp_path / "half").vectors(space, 2)
    assert half.dtype == np.float32
    assert np.array_equal(half, full.astype(np.float16).astype(np.float32))


@pytest.mark.slow
def test_occurrences_are_drawn_the_same_in_any_build(build, source, tmp_path):
    single = build(source(*SENTENCES), "one", unit="occurrence", per_text=2, seed=5)
    build(source(SENTENCES[2], name="c.txt"), "two", unit="occurrence", per_text=2, seed=5)
    build(source(*SENTENCES), "two", unit="occurrence", per_text=2, seed=5)
    other = build(source(*SENTENCES), "other", unit="occurrence", per_text=2, seed=6)
    assert single.n_items == other.n_items == 2 * len(SENTENCES)
    assert_same_content(tmp_path / "one", tmp_path / "two")
    assert texts(tmp_path / "one") != texts(tmp_path / "other")


def test_an_index_can_be_left_out_and_made_later(build, source, tmp_path):
    state = lambda: Store(tmp_path / "store").info()["index"]  # noqa: E731
    build(source(*WORDS), index="none")
    assert state() == ["none"]
    observed = []
    report = build(source(*WORDS), progress=observed.append)
    assert state() == ["flat"]
    indexes = stored_files(tmp_path / "store", "indexes/")
    assert report.n_bytes == sum(file.stat().st_size for file in indexes)
    assert {each.stage for each in observed} == {"index"}
    assert (observed[-1].done, observed[-1].total) == (4, 4)


def test_skipped_texts_are_listed_once_and_known_without_loading(
    build, source, tmp_path, monkeypatch
):
    lines = ["dog", "", "far " * 90, "cat"]
    report = build(source(*lines), unit="sentence")
    assert (report.n_skipped, report.spaces[0].embedded) == (2, 2)
    build(source(*lines), unit="sentence")
    listed = Store(tmp_path / "store").skipped().to_pylist()
    assert [(row["text"], row["origin"].rpartition(":")[2]) for row in listed] == [
        ("far " * 90, "3"),
        ("", "2"),
    ]
    assert "tokens" in listed[0]["reason"]
    assert "64" in listed[0]["reason"]
    with monkeypatch.context() as patch:
        patch.setattr("embstore.build.job.Encoder", _fail)
        for dry_run in (False, True):
            report = build(source(*lines), unit="sentence", dry_run=dry_run)
            assert report.spaces[0].skipped == {"longer than the context": 1}
            assert (report.spaces[0].embedded, report.spaces[0].present, report.n_skipped) == (
                0,
                2,
                2,
            )
    report = build(source(*lines), unit="sentence", long="truncate")
    assert _done(report) == {"tiny.sentence.mean": (1, 2)}
    assert report.n_truncated == 1
    listed = Store(tmp_path / "store").skipped().to_pylist()
    assert [(row["text"], row["outcome"]) for row in listed] == [
        ("far " * 90, "truncated"),
        ("", "skipped"),
    ]


@pytest.mark.slow
def test_poolings_that_lack_different_items_write_each_text_once(build, source, tmp_path):
    """Their writers run side by side, and cut the items into shards differently."""
    few = source(*WORDS[::3], name="few.txt")
    every = source(*WORDS, *(f"{word} {n}" for word in WORDS for n in range(8)), name="all.txt")
    build(few, poolings="last")
    build(every, unit="word", poolings=["last", "mean", "first"], shard_bytes=20_000)
    store = Store(tmp_path / "store")
    rows, ids = store.sql("SELECT count(*), count(DISTINCT item_id) FROM items").fetchall()[0]
    assert rows == ids == 9 * len(set(WORDS))
    assert store.verify().ok
    joined = "SELECT count(*) FROM embeddings JOIN items USING (item_id) WHERE layer = 0 AND space = 'tiny.word.mean'"
    assert store.sql(joined).fetchall() == [(ids,)]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["vectors", "items"])
def test_a_lost_file_is_named_until_a_repair_and_built_again_after_it(
    build, source, tmp_path, folder
):
    lines = source(*WORDS)
    build(lines, "whole", index="none")
    build(lines, index="none")
    store = Store(tmp_path / "store")
    lost = stored_files(store.path, f"{folder}/")[0]
    lost.unlink()
    for read in (lambda: build(lines), lambda: store.vectors("tiny.word.last", 0)):
        with pytest.raises(
            DamagedError,
            match=rf"{lost.name} is damaged: it is missing.*run embstore repair.*same sources",
        ):
            read()
    assert store.repair()
    build(lines, index="none")
    assert store.verify().ok
    assert_same_content(store.path, tmp_path / "whole")


@pytest.mark.slow
def test_a_text_that_one_checkpoint_could_not_hold_is_tried_again_by_another(
    build, source, tmp_path
):
    from tiny_checkpoint import POSITIONS, make_checkpoint

    long = source("far " * 12, name="long.txt")
    short = make_checkpoint(tmp_path / "short", positions=POSITIONS // 2)
    assert build(long, unit="word", models=f"tiny={short}").n_skipped == 1
    build(source("dog"))
    assert _done(build(long, unit="word")) == {"tiny.word.last": (1, 0)}


@pytest.mark.slow
def test_a_pooling_has_the_same_texts_whatever_others_are_asked_for(build, source, tmp_path):
    texts = source("dog", "far " * 90)
    options = {"unit": "sentence", "template": "{text}{eos}", "long": "truncate"}
    together = build(texts, "together", poolings=["mean", "eos"], **options)
    for pooling in ("mean", "eos"):
        build(texts, "apart", poolings=pooling, **options)
    assert _done(together) == {"tiny.sentence.mean": (2, 0), "tiny.sentence.eos": (1, 0)}
    assert_same_content(tmp_path / "together", tmp_path / "apart")


def test_a_long_text_can_be_an_error(build, source, tmp_path):
    with pytest.raises(
        EncodeError,
        match=r"'far far .*too long: \d+ tokens.*holds 64.*long='truncate'.*texts\.txt:2",
    ):
        build(source("dog", "far " * 90), unit="sentence", long="error")
    assert not Store(tmp_path / "store").catalog.manifest.files
    build(source("dog"), unit="sentence")
    with pytest.raises(EncodeError, match="too long"):
        build(source("dog", "far " * 90), unit="sentence", long="error")
    assert Store(tmp_path / "store").verify().ok
    assert Store(tmp_path / "store").info()["items"] == [1]


def test_limit_counts_texts_and_not_empty_lines(build, source):
    report = build(source("dog", "", "cat", "fish"), limit=2)
    assert (report.n_texts, report.n_items) == (2, 2)


@pytest.mark.slow
def test_a_dry_run_says_what_the_build_then_does(build, source, tmp_path):
    lines = [*WORDS, *SENTENCES, "", "far " * 90] + [f"number {i}" for i in range(400)]
    options = {"unit": "sentence", "poolings": ["mean", "first"], "batch_tokens": 200}
    dry = build(source(*lines), dry_run=True, **options)
    assert not (tmp_path / "store").exists()
    real = build(source(*lines), **options)
    assert dry.dry_run
    assert _done(dry) == _done(real)
    assert [space.skipped for space in dry.spaces] == [space.skipped for space in real.spaces]
    for name in ("n_texts", "n_items", "blanks", "n_tokens", "n_forward_passes", "n_skipped"):
        assert getattr(dry, name) == getattr(real, name), name
    assert dry.n_bytes == pytest.approx(real.n_bytes, rel=0.1)
    assert dry.encode_seconds > 0
    half = build(source(*lines, "one more"), dry_run=True, **options)
    assert _done(half) == {space: (1, embedded) for space, (embedded, _) in _done(real).items()}


def test_progress_tells_items(build, source):
    observed = []
    build(
        source(*WORDS, "far " * 30, "far " * 90),
        unit="sentence",
        batch_tokens=30,
        progress=observed.append,
    )
    assert [each.stage for each in observed[:2]] == ["load", "encode"]
    steps = [each for each in observed if each.stage == "encode"]
    assert len(steps) > 3
    assert [each.done for each in steps] == sorted(each.done for each in steps)
    assert (steps[-1].done, steps[-1].total) == (len(WORDS) + 2, len(WORDS) + 2)


@pytest.mark.parametrize("name", ["odd name (1)", "a=größe"])
def test_a_folder_of_an_odd_name_can_be_built_and_embedded(
    build, source, checkpoint, tmp_path, name
):
    (tmp_path / name).symlink_to(checkpoint)
    folder = tmp_path / name
    build(source("dog", "cat"), models=f"odd={folder}")
    found = Store(tmp_path / "store").neighbours("sea", embed=True, k=2)
    assert sorted(found["text"]) == ["cat", "dog"]


@pytest.mark.slow
def test_what_differs_is_named_when_a_space_is_another_one(build, source, tmp_path):
    from tiny_checkpoint import make_checkpoint

    build(source("dog"), name="mine")
    make_checkpoint(tmp_path / "other", seed=7)
    wrong = {
        "checkpoint.*weights_sha256": {"models": f"tiny={tmp_path / 'other'}"},
        'template is "{text}", not "a {text}"': {"template": "a {text}"},
        "layers is 0,1,2,raw, not 1": {"layers": "1"},
        'dtype is "float32", not "float16"': {"dtype": "float16"},
        'unit is "word", not "sentence"': {"unit": "sentence", "poolings": "last"},
        'pooling is "last", not "mean"': {"poolings": "mean"},
    }
    before = _files(tmp_path / "store")
    for difference, options in wrong.items():
        with pytest.raises(SpaceMismatchError, match=difference) as caught:
            build(source("dog", "cat"), name="mine", **options)
        assert "'mine'" in str(caught.value)
        assert "name" in str(caught.value)
    assert _files(tmp_path / "store") == before


def _files(root):
    return {
        str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()
    }


def _fail(*_, **__):
    raise AssertionError("the weights were loaded")


def _count_forward_passes(monkeypatch):
    import transformers

    calls = []
    real = transformers.GPT2Model.forward

    def forward(*args, **options):
        calls.append(None)
        return real(*args, **options)

    monkeypatch.setattr(transformers.GPT2Model, "forward", forward)
    return calls


def test_a_build_says_its_rule_adds_to_no_other_and_goes_on_with_other_versions(
    tmp_path, build, source
):
    def n_words(text):
        [space] = build(source(text), unit="occurrence", name="old", index="none").spaces
        return space.embedded + sum(space.skipped.values())

    assert n_words("a na\u0308ive dog") == 3
    root = tmp_path / "store"
    stored = Store(root).catalog.cards["old"]
    assert stored.word_boundaries == word_boundaries()
    assert card(root, "old")["word_boundaries"].startswith(WORD_RULE)
    replace_card(
        root, replace(stored, word_boundaries=f"{WORD_RULE}; Unicode 99.0.0, regex 2099.1.1")
    )
    assert n_words("a red dog") == 3
    replace_card(
        root, replace(stored, word_boundaries="another rule; Unicode 99.0.0, regex 2099.1.1")
    )
    with pytest.raises(
        SpaceMismatchError, match=r'its word_boundaries is "another rule; .*another name'
    ):
        n_words("a cat")
