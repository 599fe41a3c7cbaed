"""What a document must be to be read, and what is said of one that is not."""

import json
import time
from typing import get_args

import pytest
from published import validator
from synthetic import synthetic_card

from embstore.base import documents
from embstore.base.documents import MAX_BYTES, InvalidDocument, Kind, UnsupportedFormat

CARD = synthetic_card().to_dict()
KINDS = get_args(Kind)


def read(data, kind="card"):
    document = documents.parse(data, kind)
    documents.check(document, kind)
    return document


def changed(**change):
    return json.dumps(CARD | change, ensure_ascii=False).encode()


def test_a_document_is_read_as_it_was_written():
    assert read(changed(model="naïve 🙂", max_tokens=None)) == CARD | {
        "model": "naïve 🙂",
        "max_tokens": None,
    }


NOT_JSON = {
    "nothing": (b"", "not JSON"),
    "no object": (b"[1]", "not a JSON object"),
    "no UTF-8": (b'{"a": "\xff"}', "not JSON"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not JSON"),
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
    "half": (b'{"a": ', "not JSON"),
    "NaN": (b'{"a": NaN}', "NaN is no number of JSON"),
    "infinity": (b'{"a": [-Infinity]}', "-Infinity is no number of JSON"),
    "a large number": (b'{"a": 1e999}', "is written with a fraction"),
    "many digits": (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    "half a surrogate pair": (b'{"a": "\\ud800"}', "surrogates not allowed"),
    "half a surrogate pair as a name": (b'{"\\uDFFF": 1}', "surrogates not allowed"),
    "lists without end": (b"[" * 100_000, "nested too deeply"),
    "deep lists": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "too much": (b'{"a": "' + b"x" * MAX_BYTES["card"] + b'"}', "larger than 1,024 KiB"),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_document_is_refused_at_once(case):
    data, words = NOT_JSON[case]
    began = time.thread_time()
    with pytest.raises(InvalidDocument, match=words):
        documents.parse(data, "card")
    assert time.thread_time() - began < 5


WRONG = {
    "negative": ({"dim": -32}, "dim: its value is less than the minimum of 1"),
    "text": ({"dim": "32"}, 'dim: its value is not of type "integer"'),
    "null": ({"dim": None}, "dim: its value is not of type"),
    "a fraction": ({"dim": 8.5}, "8.5 is written with a fraction"),
    "whole, as a fraction": ({"dim": 8.0}, "8.0 is written with a fraction"),
    "inside": ({"layers": [{"id": 0.0, "name": "0"}]}, "0.0 is written with a fraction"),
    "true": ({"dim": True}, "dim: its value is not of type"),
    "huge": ({"dim": 1 << 70}, "dim: .* is greater than the maximum of 1048576"),
    "layers": (
        {"layers": [{"id": 1, "name": "1"}] * 10_000},
        "layers: .* has more than 4099 items",
    ),
    "a name": ({"space": "../../victim"}, "space: its value does not match"),
    "a line": ({"space": "a\n"}, "space: .* does not match"),
    "a long name": ({"space": "a" * 300}, "space: .* is longer than 200"),
    "something else": ({"mystery": 1}, "'mystery' was unexpected"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_its_schema_does_not_allow_is_named(case):
    change, words = WRONG[case]
    with pytest.raises(InvalidDocument, match=words) as caught:
        read(changed(**change))
    assert len(str(caught.value)) <= 300


def test_what_is_missing_is_named_and_another_format_before_all_else():
    with pytest.raises(InvalidDocument, match='"dim" is a required property'):
        read(json.dumps({name: value for name, value in CARD.items() if name != "dim"}).encode())
    with pytest.raises(UnsupportedFormat, match="has format 3, and this embstore reads format 2"):
        documents.parse(b'{"format": 3, "mystery": []}', "card")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_refuses_what_the_reference_validator_refuses(kind):
    """The library that reads documents, and the one in which their schemas are tested, say the same
    of one name less, one name more and another type of each value.
    """
    reference = validator(kind)
    whole = {name: _example(part) for name, part in reference.schema["properties"].items()}
    others = [whole, whole | {"mystery": 1}]
    others += [
        {name: value for name, value in whole.items() if name != missing} for missing in whole
    ]
    others += [
        whole | {name: value}
        for name in whole
        for value in (None, [], {}, "", "é", -1, 1, 0.5, True)
    ]
    for document in others:
        try:
            documents.check(document, kind)
        except InvalidDocument:
            assert not reference.is_valid(document), document
        else:
            assert reference.is_valid(document), document


def _example(schema):
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    numbers = {"integer": schema.get("minimum", 1), "number": 1}
    return {"string": "a", "array": [], "object": {}, "boolean": True, **numbers}[kind]


def test_every_kind_has_a_limit_and_a_schema():
    assert set(MAX_BYTES) == {*KINDS}
    for kind in KINDS:
        with pytest.raises(InvalidDocument):
            read(b"{}", kind)


@pytest.mark.slow
def test_a_manifest_of_a_hundred_thousand_files_is_read():
    entry = {
        "bytes": 16 << 20,
        "sha256": "0" * 64,
        "n": 8192,
        "ids": "0" * 16,
        "first": 1 << 61,
        "last": 1 << 62,
        "offsets": [4, 65_600],
    }
    files = {
        f"vectors/space={'a' * 60}/layer=00/{number:032x}.parquet": entry
        for number in range(100_000)
    }
    document = {
        "format": 4,
        "number": 1,
        "created": 0,
        "files": files,
        "removed": {},
        "file_sha256": "0" * 64,
    }
    assert read(json.dumps(document).encode(), "manifest") == document


def test_a_document_of_another_program_is_as_deep_as_64():
    assert documents.parse_foreign(b"[" * 64 + b"]" * 64) == json.loads("[" * 64 + "]" * 64)
    assert documents.parse_foreign('{"a":' * 63 + "[1, 2]" + "}" * 63)["a"]
    for data in (
        b"[" * 65 + b"]" * 65,
        '{"a": [' * 33 + "]}" * 33,
        "[" * 900 + "]" * 900,
        b"[" * 100_000,
    ):
        with pytest.raises(InvalidDocument, match="it is nested too deeply"):
            documents.parse_foreign(data)


def test_a_document_of_another_program_has_a_size_and_a_syntax():
    assert documents.parse_foreign(b"[1]", 3) == [1]
    for data, message in (
        (b"[10]", "it is larger than 0 KiB"),
        (b"[1", "Expecting"),
        (b"\xff", "utf-8"),
    ):
        with pytest.raises(InvalidDocument, match=message):
            documents.parse_foreign(data, 3)
