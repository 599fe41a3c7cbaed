"""What is exported comes back equal to the bit, in every format that is read and written."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from exchanged import assert_same_layer, assert_same_vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sound_stores import problems_of
from synthetic import synthetic_store

from embstore import Store
from embstore.interop.formats import READERS, WRITERS

pytestmark = pytest.mark.slow

BACK = {name: name for name in WRITERS if name in READERS} | {"npy": "npy-folder"}
"""Format of an export → format that it is imported as."""

SUFFIXES = {name: (*writer.suffixes, "")[0] for name, writer in WRITERS.items()}
FLOATS = st.floats(-(2.0**127), 2.0**127, width=32)  # also denormals, and zeros of both signs
WORDS = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=6)
CHARS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARS, min_size=1, max_size=12).filter(lambda text: not text.isspace())


@st.composite
def spaces(draw, *, words):
    texts = draw(st.lists(WORDS if words else TEXTS, min_size=1, max_size=12, unique=True))
    n_layers, dim = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    vectors = draw(arrays(np.float32, (n_layers, len(texts), dim), elements=FLOATS))
    return texts, vectors


@pytest.mark.parametrize("name", BACK)
def test_any_texts_and_vectors_come_back(name):
    one_layer = not WRITERS[name].several_layers

    @settings(max_examples=5, deadline=None)
    @given(spaces(words=one_layer))
    def check(made):
        texts, vectors = made
        with TemporaryDirectory() as folder:
            store = Store(Path(folder) / "store")
            store.add_vectors("a", texts, vectors, index="none")
            dest = Path(folder) / f"out{SUFFIXES[name]}"
            store.export(dest, "a", format=name)
            store.import_vectors(dest, "b", format=BACK[name], index="none")
            if one_layer:
                assert_same_layer(store, "a", "top", "b", "top")
            else:
                assert_same_vectors(store, "a", "b")

    check()


@pytest.mark.parametrize("name", [name for name in BACK if WRITERS[name].several_layers])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_layers_and_their_names_come_back(tmp_path, name, dtype):
    """A model's top layer has two forms, and some layers are left out."""
    made = synthetic_store(tmp_path / "store", n=30, n_blocks=3, dtype=dtype, index=False)
    dest = tmp_path / f"out{SUFFIXES[name]}"
    store = made.store
    store.export(dest, made.space, format=name, layers="0,2,top")
    store.import_vectors(dest, "again", format=BACK[name])
    card = store.catalog.cards["again"]
    assert card.layers == made.card.layers.select("0,2,top")
    assert card.dtype == dtype
    assert card.imported is not None
    assert card.imported["origin"]["space"] == made.space
    for layer in card.layers:
        assert_same_layer(store, made.space, layer.name, "again", layer.name)


def test_the_card_beside_a_file_names_its_layer(tmp_path):
    made = synthetic_store(tmp_path / "store", n=9, n_blocks=3, index=False)
    dest, store = tmp_path / "out.vec", made.store
    store.export(dest, made.space, layers=2)
    store.import_vectors(dest, "again", index="none")
    card = store.catalog.cards["again"]
    assert (card.layers.names, card.imported["origin"]["space"]) == (("2",), made.space)
    assert_same_layer(store, made.space, "2", "again", "2")
    # Another program has written over the file.
    store.add_vectors("other", ["a", "b"], np.eye(2, 4), index="none")
    store.export(tmp_path / "plain.vec", "other")
    (tmp_path / "plain.vec").replace(dest)
    store.import_vectors(dest, "replaced", index="none")
    assert store.catalog.cards["replaced"].layers.names == ("0",)


@pytest.mark.parametrize("name", [name for name in BACK if WRITERS[name].several_layers])
def test_occurrences_come_back_with_their_sentences(tmp_path, name):
    made = synthetic_store(
        tmp_path / "store", texts=["the bank of the river", "a bank\nlends"], unit="occurrence"
    )
    dest = tmp_path / f"out{SUFFIXES[name]}"
    made.store.export(dest, made.space, format=name)
    store = made.store
    store.import_vectors(dest, "again", format=BACK[name], unit="occurrence")
    assert_same_vectors(store, made.space, "again")
    ids = store.vectors("again", "top")[0].tolist()
    assert {item.shown for item in store.catalog.items(ids).values()} == {
        item.shown for item in made.items
    }
    assert problems_of(store) == []


def test_chosen_items_are_exported_transformed(tmp_path):
    made = synthetic_store(tmp_path / "store", n=40, n_blocks=1, top_form=None, index=False)
    store = made.store
    store.export(tmp_path / "a.parquet", made.space, where="text LIKE '%1%'", transforms="center")
    store.import_vectors(tmp_path / "a.parquet", "centred")
    chosen = [place for place, text in enumerate(made.texts) if "1" in text]
    assert 1 < len(chosen) < 40
    for layer in (0, 1):
        expected = made.layer(layer)[chosen].astype(np.float64)
        expected -= expected.mean(axis=0)
        ids, _, vectors = store.vectors("centred", layer)
        order = np.argsort(made.ids[chosen])
        assert ids.tolist() == made.ids[chosen][order].tolist()
        np.testing.assert_allclose(vectors, expected[order], atol=1e-6)
