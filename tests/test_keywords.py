"""Arguments of Store: filters of spaces, wrong names and types; another name of a method, and
addresses for folders.
"""

import pickle
from inspect import signature

import numpy as np
import pytest
from synthetic import synthetic_store

from embstore import EmbstoreError, Store
from embstore.base.errors import UnknownNameError, UsageError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store that is only read."""
    return synthetic_store(tmp_path_factory.mktemp("keywords") / "store").store


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        (lambda store: store.query("norms", laers=1), "layers"),
        (lambda store: store.query("norms", tops=1), "top"),
        (lambda store: store.cache_state("norms", layer=1), "layers"),
        (lambda store: store.neighbours("dog", layer=1), "layers"),
        (lambda store: store.neighbours("dog", kk=1), "k"),
        (lambda store: store.cosine("dog", space="toy.word.last"), "spaces"),
        (lambda store: store.missing("words", modle="toy"), "models"),
        (lambda store: store.index(space="toy.word.last"), "spaces"),
        (lambda store: store.map(layer=1), "layers"),
        (lambda store: store.map_points("toy.word.last", 0, wher="1"), "where"),
        (lambda store: store.maps(layer=1), "layers"),
        (lambda store: store.export("x.vec", layer=1), "layers"),
        (lambda store: store.query("norms").plot(styl="dark"), "style"),
    ],
)
def test_an_unknown_keyword_is_answered_by_the_nearest(store, call, nearest):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{nearest}'"):
        call(store)


def test_an_unknown_keyword_of_a_method_without_filters_is_refused_in_its_name(store):
    for call, name in (
        (lambda: store.build("words:9", model="toy"), "build"),
        (lambda: store.remove(space="toy.word.last"), "remove"),
    ):
        with pytest.raises(TypeError, match=rf"^Store\.{name}\(\) got an unexpected keyword"):
            call()


@pytest.mark.parametrize("given", ["toy", ["toy"], ("toy",)])
def test_a_filter_takes_one_name_or_several(make_store, given):
    store = make_store().store
    make_store(model="other")
    assert {*store.query("norms", models=given)["space"]} == {"toy.word.last"}
    assert {*store.neighbours("text3", models=given)["space"]} == {"toy.word.last"}
    assert {*store.index(models=given)["space"]} == {"toy.word.last"}


def test_a_store_is_pickled_by_its_public_name(store):
    assert store.query("norms").rows
    again = pickle.loads(pickle.dumps(store))
    assert (type(again), repr(again)) == (Store, repr(store))
    assert f"{Store.__module__}.{Store.__qualname__}" == "embstore.store.Store"
    assert again.info().rows == store.info().rows


def test_neighbors_is_neighbours(store):
    assert store.neighbors("text3", k=2).rows == store.neighbours("text3", k=2).rows
    assert "texts" in signature(Store.neighbours).parameters


@pytest.mark.parametrize("address", ["ftp://example.org/store", "hf://models/x/y", "https://"])
def test_an_address_of_another_kind_is_no_store(address):
    with pytest.raises(
        EmbstoreError, match=r"is no (URL of a bucket|dataset repository|address of a store)"
    ):
        Store(address)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.query("norms", layers=None),
        lambda store: store.query("norms", layers=2.0),
        lambda store: store.query("norms", layers=True),
        lambda store: store.query("norms", sample="3"),
        lambda store: store.query("norms", sample=2.5),
        lambda store: store.query("norms", where=5),
        lambda store: store.query("norms", by=["freq"]),
        lambda store: store.query("norms", models=["toy", None]),
        lambda store: store.query("norms", word=[1, 2]),
        lambda store: store.neighbours("text1", k=2.5),
        lambda store: store.sql(5),
    ],
)
def test_a_value_of_another_type_gets_no_answer(store, call):
    with pytest.raises(EmbstoreError):
        call(store)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.neighbours("text1", k="5"), "k must be int, not '5'."),
        (lambda s: s.neighbours("text1", k=5.0), "k must be int, not 5.0."),
        (lambda s: s.neighbours("text1", layers=6.0), "layers must be str or int, not 6.0."),
        (lambda s: s.query("norms", layers=[1, 2.5]), "layers must be str or int, not 2.5."),
        (lambda s: s.query("norms", layers=None), "layers must be str or int, not None."),
        (lambda s: s.query("norms", where=5), "where must be str, not 5."),
        (lambda s: s.cache_state("norms", where=5), "where must be str, not 5."),
        (lambda s: s.query("norms", seed="x"), "seed must be int, not 'x'."),
        (lambda s: s.map(seed="x"), "seed must be int, not 'x'."),
        (lambda s: s.query("norms", sample=2.5), "sample must be int, not 2.5."),
        (lambda s: s.query("norms", timeout="x"), "timeout must be float, not 'x'."),
        (lambda s: s.query("norms", unit=5), "unit must be str, not 5."),
        (lambda s: s.query("norms", by=5), "by must be str, not 5."),
        (lambda s: s.query("norms", transforms=5), "transforms must be str, not 5."),
        (lambda s: s.query("norms", models=["toy", None]), "models must be str, not None."),
        (lambda s: s.query("norms", words=5), "words must be strings, not 5 of type int."),
        (lambda s: s.cosine(["text1", 5]), "texts must be str, not 5."),
        (lambda s: s.vectors("toy", 1.0), "layer must be int or str, not 1.0."),
        (lambda s: s.vectors(5, 1), "space must be str, not 5."),
        (lambda s: s.sql(5), "select must be str, not 5."),
        (lambda s: s.info(spaces=5), "spaces must be str, not 5."),
        (lambda s: s.export("x.vec", space=5), "space must be str, not 5."),
        (lambda s: s.drift(5), "texts must be str, not 5."),
    ],
)
def test_a_value_of_another_type_is_named_with_what_the_parameter_takes(store, call, message):
    with pytest.raises(UsageError) as caught:
        call(store)
    assert message in str(caught.value)


def test_the_name_of_a_model_is_its_only_space(make_store):
    store = make_store().store
    ids, _, vectors = store.vectors("toy", 1)
    expected = store.vectors("toy.word.last", 1)
    assert np.array_equal(ids, expected[0])
    assert np.array_equal(vectors, expected[2])
    assert np.array_equal(store.map_points("toy", 1)[0], store.map_points("toy.word.last", 1)[0])
    make_store(pooling="first")
    store.refresh()
    for call in (store.vectors, store.map_points):
        with pytest.raises(UsageError) as caught:
            call("toy", 1)
        message = "'toy' has several spaces: name one, such as toy.word.first."
        assert str(caught.value) == message


def test_values_of_numpy_and_any_iterable_of_names_are_taken(store):
    expected = store.query("norms", layers=[0, 1], sample=4).to_pylist()
    assert (
        store.query("norms", layers=np.arange(2), sample=np.int64(4), cache=np.True_).to_pylist()
        == expected
    )
    assert (
        store.query("norms", layers=iter(["0", 1]), sample=4, models=None, spaces=None).to_pylist()
        == expected
    )
    found = store.neighbours(np.array(["text1", "text2"]), k=np.int32(2), timeout=np.float32(60))
    assert (
        found.to_pylist()
        == store.neighbours((text for text in ("text1", "text2")), k=2).to_pylist()
    )


def test_words_and_edges_of_another_type_are_named(store):
    with pytest.raises(UsageError, match="words must be strings, not 1 of type int"):
        store.query("norms", words=[1, 2])
    with pytest.raises(UsageError, match="bins must be a number from 1 to 1,000"):
        store.query("norms", by="zipf_frequency", bins=True)


@pytest.mark.parametrize(
    ("metric", "given", "message"),
    [
        ("cka", {"against": 5}, "against must be a string, not 5"),
        ("cka", {"against": ["toy.word.last"]}, "against must be a string, not"),
        ("correlate", {"column": 1.5}, "column must be a string, not 1.5"),
        ("similarity", {"dataset": 5}, "dataset must be a string or several strings, not 5"),
        (
            "similarity",
            {"dataset": ["rg65", 5]},
            "dataset must be a string or several strings, not",
        ),
        ("weat", {"x": 5, "y": ["text1"]}, "x must be a string, not 5"),
        ("valnorm", {"lexicon": []}, "lexicon must be a string"),
        ("anisotropy", {"variant": True}, "variant must be a string, not True"),
        ("hubness", {"k": np.float64(2.5)}, "k must be a whole number, not 2.5"),
    ],
)
def test_a_parameter_of_another_type_is_named(store, metric, given, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        store.query(metric, **given)


def test_a_parameter_takes_the_numbers_of_numpy(store):
    found, expected = (store.query("hubness", k=k, layers=0).to_pylist() for k in (np.int64(3), 3))
    assert found == expected
