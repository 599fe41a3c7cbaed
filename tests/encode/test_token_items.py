"""Every token of a text is an item, with the vector that plain transformers gives at its place."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from sound_stores import has_its_id

from embstore import Store
from embstore.base.errors import EncodeError, NotStoredError, QueryError, UsageError
from embstore.base.space import Unit
from embstore.base.text import Item, Span, items_in

# Bytes of one character, of which two are equal; blanks; a token twice; no token of its own.
TEXTS = [
    "The quick brown fox jumps over the cat and the hat.",
    "  naïve 🙂 words,\tand 𐀀 and 例え ",
    "a",
    "the the the",
]
KINDS = ["gpt2", "opt", "llama", "bert", "roberta", "t5", "clip"]


def built(tmp_path, folders, texts=TEXTS, store="store", **options):
    """Build texts as tokens of some checkpoints, and return the store and its report."""
    opened = Store(tmp_path / store)
    models = [f"{name}={folder}" for name, folder in folders.items()]
    report = opened.build(texts=texts, models=models, unit="token", index="none", **options)
    return opened, report


def rows_of(store, space):
    """Return the items of a space by context, in order: text, start, end, index, is_special and
    id.
    """
    ids, texts, _, index, special = store.vectors(space, "0", columns=["token_index", "is_special"])
    facts = {
        item: (context, start, end)
        for item, context, start, end in store.sql(
            "SELECT item.item_id, context.text, item.start, item.end FROM items AS item"
            " JOIN items AS context ON context.item_id = item.context_id"
        ).fetchall()
    }
    found = {}
    for row in sorted(zip(index, ids, texts, special, strict=True), key=lambda row: row[0]):
        context, start, end = facts[row[1]]
        found.setdefault(context, []).append((row[2], start, end, row[0], row[3], row[1]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_token_of_every_layer_has_the_state_that_transformers_gives(
    kind, tiny_folder, witness, tmp_path
):
    store, report = built(tmp_path, {kind: tiny_folder(kind)}, special=True)
    space = f"{kind}.token.last"
    found = rows_of(store, space)
    layers = {}
    names = store.catalog.cards[space].layers.names
    for name in names:
        ids, _, vectors = store.vectors(space, name)
        layers[name] = dict(zip(ids.tolist(), vectors, strict=True))
    assert report.n_items == sum(map(len, found.values()))
    plain = witness(kind)
    for text in TEXTS:
        states, _, encoding = plain.states(text)
        ids = encoding["input_ids"][0].tolist()
        mask = plain.tokenizer(text, return_special_tokens_mask=True)["special_tokens_mask"]
        tokens = found[text]
        assert [row[0] for row in tokens] == plain.tokenizer.convert_ids_to_tokens(ids)
        assert [row[3] for row in tokens] == list(range(len(ids)))
        assert [row[4] for row in tokens] == [bool(each) for each in mask]
        for number, name in enumerate(names):
            own = np.stack([layers[name][row[5]] for row in tokens])
            norms = np.linalg.norm(states[number], axis=1)
            assert (np.linalg.norm(own - states[number], axis=1) <= 1e-4 * norms).all()
        offsets = plain.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        for (_, start, end, _, special, _), (first, last) in zip(tokens, offsets, strict=True):
            if special:
                assert start == end
                assert start in (0, len(text))
            else:  # blanks may be trimmed there
                assert text[start:end].strip() == text[first:last].strip()
    assert not store.verify().problems


@pytest.mark.slow
def test_special_tokens_are_items_only_if_asked_for_and_are_added_later(tiny_folder, tmp_path):
    folders = {"bert": tiny_folder("bert")}
    store, first = built(tmp_path, folders)
    assert not any(row[4] for rows in rows_of(store, "bert.token.last").values() for row in rows)
    _, second = built(tmp_path, folders, special=True)
    assert second.spaces[0].embedded == 2 * len(TEXTS)
    assert second.spaces[0].present == first.n_items
    found = rows_of(store, "bert.token.last")[TEXTS[2]]
    assert [(row[0], row[3]) for row in found] == [("[CLS]", 0), ("a", 1), ("[SEP]", 2)]


@pytest.mark.slow
def test_tokens_of_two_tokenizers_are_not_mixed(tiny_folder, tmp_path):
    kinds = ["gpt2", "roberta", "bert"]
    together, _ = built(tmp_path, {kind: tiny_folder(kind) for kind in kinds})
    spaces = [f"{kind}.token.last" for kind in kinds]
    for kind, space in zip(kinds, spaces, strict=True):
        alone, _ = built(tmp_path, {kind: tiny_folder(kind)}, store=kind)
        assert rows_of(together, space) == rows_of(alone, space)
    by_id = {
        space: {row[5]: row[:3] for rows in rows_of(together, space).values() for row in rows}
        for space in spaces
    }
    for one, other in itertools.combinations(spaces, 2):
        shared = by_id[one].keys() & by_id[other].keys()
        assert all(by_id[one][item] == by_id[other][item] for item in shared)
        assert len(shared) < len(by_id[one])


@pytest.mark.slow
def test_two_models_with_the_same_tokens_share_items_whatever_the_template(tiny_folder, tmp_path):
    folder = tiny_folder("gpt2")
    store, _ = built(tmp_path, {"gpt2": folder, "other": folder})
    built(tmp_path, {"gpt2": folder}, template="{bos}{text}", name="with_bos", special=True)
    plain, other, after = (
        rows_of(store, space) for space in ("gpt2.token.last", "other.token.last", "with_bos")
    )
    assert plain == other
    for text in TEXTS:
        bos, *rows = after[text]
        assert bos[:5] == ("<|endoftext|>", 0, 0, 0, True)
        assert [(*row[:3], row[5]) for row in rows] == [(*row[:3], row[5]) for row in plain[text]]
        assert [row[3] - 1 for row in rows] == [row[3] for row in plain[text]]


def test_words_of_a_template_are_no_items(tiny_folder, tmp_path):
    store, _ = built(
        tmp_path, {"bert": tiny_folder("bert")}, ["the cat"], template="and {text} over the hat"
    )
    [rows] = rows_of(store, "bert.token.last").values()
    assert [(row[0], row[1], row[2]) for row in rows] == [("the", 0, 3), ("cat", 4, 7)]


@pytest.mark.slow
def test_a_sample_of_each_text_is_drawn_by_the_seed(tiny_folder, tmp_path):
    folders = {"gpt2": tiny_folder("gpt2")}
    _, everything = built(tmp_path, folders, store="all")
    first, report = built(tmp_path, folders, per_text=2, seed=1)
    again, _ = built(tmp_path, folders, TEXTS[::-1], store="again", per_text=2, seed=1)
    other, _ = built(tmp_path, folders, store="other", per_text=2, seed=2)
    samples = [rows_of(each, "gpt2.token.last") for each in (first, again, other)]
    assert samples[0] == samples[1] != samples[2]
    assert [len(samples[0][text]) for text in TEXTS] == [2, 2, 1, 2]
    assert report.n_items == 7 < everything.n_items


@pytest.mark.slow
def test_long_texts_are_skipped_once_truncated_or_an_error(tiny_folder, witness, tmp_path):
    folders, long = {"bert": tiny_folder("bert")}, "the cat " * 40
    store, report = built(tmp_path, folders, [long, "a cat"])
    assert report.blanks == {"longer than the context": 1}
    assert [*rows_of(store, "bert.token.last")] == ["a cat"]
    assert [row["reason"] for row in store.skipped()] == [
        "82 tokens, the context of 'bert' holds 64"
    ]
    cut, report = built(tmp_path, folders, [long], store="cut", long="truncate", special=True)
    [rows] = rows_of(cut, "bert.token.last").values()
    states, _, _ = witness("bert").states(long, truncation=True)
    ids, _, vectors = cut.vectors("bert.token.last", "3")
    at = dict(zip(ids.tolist(), vectors, strict=True))
    assert np.allclose(np.stack([at[row[5]] for row in rows]), states[3], atol=1e-4)
    assert report.n_truncated == len(rows) == 64
    with pytest.raises(EncodeError, match=r"too long: 82 tokens.*long='skip'"):
        built(tmp_path, folders, [long], store="error", long="error")


def test_what_tokens_do_not_take_is_refused(tiny_folder, tmp_path):
    folders = {"bert": tiny_folder("bert")}
    with pytest.raises(QueryError, match=r"'mean' is over several tokens"):
        built(tmp_path, folders, poolings="mean")
    with pytest.raises(UsageError, match=r"needs unit='token'"):
        Store(tmp_path / "store").build(
            texts=TEXTS, models=str(folders["bert"]), unit="word", special=True
        )
    with pytest.raises(UsageError, match=r"targets in sentences are occurrences, not tokens"):
        built(tmp_path, folders, ["the [cat]"], targets="brackets")
    store, _ = built(tmp_path, folders)
    with pytest.raises(UsageError, match=r"not given by its text.*where"):
        store.encode("the cat", "bert.token.last")


def test_a_text_without_tokens_is_listed(tiny_folder, tmp_path):
    store, report = built(tmp_path, {"bert": tiny_folder("bert")}, ["\u200b", "\ud800", "a"])
    assert report.blanks == {"no tokens": 1, "not valid Unicode (lone surrogate)": 1}
    assert sorted(rows_of(store, "bert.token.last")) == ["a"]


@pytest.mark.slow
def test_tokens_are_queried_as_occurrences(tiny_folder, tmp_path):
    store, _ = built(tmp_path, {"gpt2": tiny_folder("gpt2")})
    space = "gpt2.token.last"
    found = rows_of(store, space)
    [row] = store.query("anisotropy", layers="1", where="token_index > 0 AND NOT is_special").rows
    assert row["n"] == sum(len(rows) - 1 for rows in found.values())
    groups = store.query("anisotropy", layers="1", by="context")
    assert {row["group"]: row["n"] for row in groups} == {
        text: len(rows) for text, rows in found.items()
    }
    [nearest, *_] = store.neighbours(marked="the[ the] the", layers="1", k=3).rows
    assert nearest["context"].replace("[", "").replace("]", "") in TEXTS
    with pytest.raises(UsageError, match=r"occurs in 4 sentences"):
        store.neighbours("Ġthe", layers="1")


YEARS = ["the cat and the hat", "the cat", "over the cat and the hat", "the hat jumps", "the fox"]


@pytest.mark.slow
def test_uses_of_a_token_are_measured_as_those_of_a_word(tiny_folder, tmp_path):
    store = Store(tmp_path / "store")
    rows = [(text, {"year": 1990 + 10 * (n % 2)}) for n, text in enumerate(YEARS)]
    store.build(texts=rows, keep="year", models=f"bert={tiny_folder('bert')}", unit="token")
    space, layer = "bert.token.last", "1"
    ids, texts, vectors = store.vectors(space, layer)
    uses = vectors[[text == "the" for text in texts]].astype(np.float64)
    unit = uses / np.linalg.norm(uses, axis=1, keepdims=True)
    cosines = unit @ unit.T
    [row] = store.query("self-similarity", word="the", layers=layer).rows
    assert row["n"] == len(uses) == 7
    expected = cosines[np.triu_indices(7, 1)].mean()
    assert row["self_similarity"] == pytest.approx(expected, abs=1e-6)
    [row] = store.query("mev", word="the", layers=layer).rows
    squares = np.linalg.svd(uses, compute_uv=False) ** 2
    assert row["mev"] == pytest.approx(squares[0] / squares.sum(), abs=1e-6)
    _, _, _, years = store.vectors(space, layer, columns=["year"])
    years = np.array(years)[[text == "the" for text in texts]]
    options = {"by": "year", "min_contexts": 2, "permutations": 0}
    [row] = store.query("change", word="the", layers=layer, **options).rows
    between = cosines[np.ix_(years == 1990, years == 2000)]
    assert row["apd"] == pytest.approx(1 - between.mean(), abs=1e-6)
    assert {"made"} == {each["did"] for each in store.map(layers=layer).rows}
    assert sorted(ids) == sorted(store.catalog.ids(space))


@pytest.mark.slow
def test_two_workers_build_the_tokens_of_one(tiny_folder, tmp_path):
    folders = {"gpt2": tiny_folder("gpt2")}
    whole, _ = built(tmp_path, folders)
    for worker in ("1/2", "2/2"):
        shared, _ = built(tmp_path, folders, store="shared", shard=worker)
    assert rows_of(shared, "gpt2.token.last") == rows_of(whole, "gpt2.token.last")
    for layer in "01":
        ids, _, vectors = shared.vectors("gpt2.token.last", layer)
        whole_ids, _, of_whole = whole.vectors("gpt2.token.last", layer)
        assert (ids == whole_ids).all()
        assert np.abs(vectors - of_whole).max() <= 1e-5
    assert not shared.verify().problems


@pytest.mark.slow
def test_what_a_space_of_tokens_lacks_comes_from_texts(tiny_folder, tmp_path):
    store, _ = built(tmp_path, {"gpt2": tiny_folder("gpt2")})
    with pytest.raises(NotStoredError, match=r"Nearest .*'Ġcat'.*build SOURCE --unit token$"):
        store.query("mev", word="cat")
    sets = {"x": ["Ġcat"], "y": ["Ġhat"], "a": ["the"], "b": ["zebra"]}
    with pytest.raises(NotStoredError, match=r"'zebra'.*what is missing: embstore build FILE --mo"):
        store.query("ceat", **sets)
    with pytest.raises(QueryError, match=r'start, end, "is_special.SPACE", "token_index.SPACE";'):
        store.sql("SELECT token_index FROM items")


def test_ids_tell_equal_tokens_of_one_character_apart():
    parts = [("x", Span(0, 1)), ("x", Span(0, 1)), ("y", Span(0, 1)), ("x", Span(1, 2))]
    items = items_in(Unit.TOKEN, "ab", parts)
    assert len({item.id for item in items}) == 4
    for item in items:
        row = (item.id, "token", item.text, "ab", *item.span)
        assert has_its_id(row)
        assert not has_its_id((item.id + 1, *row[1:]))
    assert Item.occurrence("ab", items[0].span).id != items[0].id


@pytest.mark.slow
def test_a_build_says_that_items_are_the_first_token_of_a_decoder(tiny_folder, tmp_path):
    folders = {"gpt2": tiny_folder("gpt2")}
    _, report = built(tmp_path, folders)
    [note] = [note for note in report.notes if "first token" in note]
    assert note.startswith("gpt2: 4 of ")
    assert "template='{bos}{text}'" in note
    _, report = built(tmp_path, folders, store="bos", template="{bos}{text}", special=True)
    assert not any("first token" in note for note in report.notes)
    _, report = built(tmp_path, {"bert": tiny_folder("bert")}, store="bert")
    assert not any("first token" in note for note in report.notes)
    words = Store(tmp_path / "words").build(
        texts=["cat", "antidisestablishmentarianism"],
        models=f"gpt2={folders['gpt2']}",
        unit="word",
        index="none",
    )
    assert sum("gpt2: 1 of 2 items are the first token" in note for note in words.notes) == 1


@pytest.mark.slow
def test_tokens_are_exported_and_imported_with_their_places(tiny_folder, tmp_path):
    store, _ = built(
        tmp_path, {"roberta": tiny_folder("roberta")}, [TEXTS[0], TEXTS[3]], special=True
    )
    space = "roberta.token.last"
    store.export(tmp_path / "tokens.parquet", space, layers="1", keep="token_index")
    other = Store(tmp_path / "other")
    other.import_vectors(tmp_path / "tokens.parquet", name="copy", unit="token")
    ids, texts, vectors = store.vectors(space, "1")
    copied_ids, copied_texts, copied = other.vectors(
        "copy", other.catalog.cards["copy"].layers.names[0]
    )
    assert (ids == copied_ids).all()
    assert texts == copied_texts
    assert (vectors == copied).all()
    assert not other.verify().problems
