"""Arguments of Store under the wrong number, another name of a method, and addresses instead of folders."""

import inspect

import pytest

from embstore import EmbstoreError, Store
from embstore.errors import UnknownNameError


@pytest.mark.parametrize(
    ("call", "use"),
    [
        (lambda store: store.neighbours("dog", layer=1), "layers="),
        (lambda store: store.neighbours("dog", model="toy"), "models="),
        (lambda store: store.index(space="toy.word.last"), "spaces="),
        (lambda store: store.build("words:9", model="toy"), "models="),
        (lambda store: store.remove(space="toy.word.last"), "spaces="),
    ],
)
def test_a_singular_names_the_argument(make_store, call, use: str) -> None:
    with pytest.raises(TypeError, match=f"use {use}"):
        call(make_store().store)


def test_a_question_about_one_layer_names_the_argument(make_store) -> None:
    store = make_store().store
    for ask in (store.query, store.cache_state):
        with pytest.raises(UnknownNameError, match="use layers="):
            ask("norms", layer=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        store.neighbours("dog", nonsense=1)


def test_neighbors_is_neighbours(make_store) -> None:
    store = make_store().store
    assert store.neighbors("text3", k=2).rows == store.neighbours("text3", k=2).rows
    assert "texts" in inspect.signature(Store.neighbours).parameters


@pytest.mark.parametrize("address", ["https://example.org/store", "s3://bucket/store", "hf://datasets/x/y"])
def test_an_address_is_no_store(address: str) -> None:
    with pytest.raises(EmbstoreError, match="a store is a folder of this machine"):
        Store(address)
