"""The grammar of keys: what a name of a file of a store may be, so that none leads outside it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base.errors import StoreError
from embstore.storage import keys

SHA = "0123456789abcdef" * 4
DIGITS = SHA[:32]


@pytest.mark.parametrize(
    ("kind", "name", "layer", "key"),
    [
        (keys.ITEMS, "", None, f"items/{DIGITS}.parquet"),
        (keys.COLUMNS, "", None, f"columns/{DIGITS}.parquet"),
        (keys.SKIPPED, "", None, f"skipped/{DIGITS}.parquet"),
        (keys.DATASETS, "words_5000", None, f"datasets/words_5000-{DIGITS}.parquet"),
        (keys.CARDS, "gpt2.word.last", None, f"spaces/gpt2.word.last-{DIGITS}.json"),
        (keys.SUMS, "a-b", None, f"sums/a-b-{DIGITS}.npz"),
        (
            keys.VECTORS,
            "gpt2.word.last",
            7,
            f"vectors/space=gpt2.word.last/layer=07/{DIGITS}.parquet",
        ),
        (keys.VECTORS, "x", 4097, f"vectors/space=x/layer=4097/{DIGITS}.parquet"),
        (keys.INDEXES, "x", 12, f"indexes/space=x/layer=12-{DIGITS}.faiss"),
        (keys.ANSWERS, "", None, f"derived/answers/{DIGITS}.json"),
    ],
)
def test_keys_are_made_and_read(kind, name, layer, key):
    assert keys.make(kind, SHA, name=name, layer=layer) == key
    assert keys.parse(key) == (kind, name, layer, DIGITS)


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "items",
        "items/",
        f"items/{DIGITS}",
        f"items/../{DIGITS}.parquet",
        f"../items/{DIGITS}.parquet",
        f"items/{DIGITS}.parquet/x",
        f"items/{DIGITS.upper()}.parquet",
        f"items/{DIGITS[:-1]}.parquet",
        f"items//{DIGITS}.parquet",
        f"./items/{DIGITS}.parquet",
        f"items/{DIGITS}.parquet\n",
        f"items\\{DIGITS}.parquet",
        f"vectors/space=a/layer=7/{DIGITS}.parquet",
        f"vectors/space=a/layer=007/{DIGITS}.parquet",
        f"vectors/space=../layer=07/{DIGITS}.parquet",
        f"vectors/space=a/b/layer=07/{DIGITS}.parquet",
        f"vectors/layer=07/{DIGITS}.parquet",
        f"spaces/-{DIGITS}.json",
        f"spaces/.a-{DIGITS}.json",
        f"derived/{DIGITS}.json",
        f"derived/answers/../{DIGITS}.json",
        "manifest/1.json",
        "store.json",
        f"vectors/space=a/layer=٠٧/{DIGITS}.parquet",
    ],
)
def test_other_names_are_none_of_a_store(key):
    assert keys.parse(key) is None


@settings(max_examples=300)
@given(st.text(alphabet="ab./\\-=\0\n é0", max_size=12))
def test_a_name_makes_a_key_or_is_refused(name):
    try:
        key = keys.make(keys.VECTORS, SHA, name=name, layer=3)
    except StoreError:
        return
    assert keys.parse(key) == (keys.VECTORS, name, 3, DIGITS)
    assert ".." not in key.split("/")
    assert key.count("/") == 3
