"""Every JSON document with anything in any place of it: it is read, or refused as damaged, and
never more than that.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fuzzing import refusal, tries
from hypothesis import given
from hypothesis import strategies as st
from synthetic import synthetic_store

from embstore.base import checksum
from embstore.base.errors import DamagedError, EmbstoreError
from embstore.storage import keys, manifest
from embstore.storage.answers import Answer, _read, stored_answers, write_answer
from embstore.storage.cache import StoreFiles, entry_of
from embstore.storage.card import read_card

pytestmark = pytest.mark.fault

_ABSENT = object()
_KEYS = [f"items/{digit * 32}.parquet" for digit in "01"]


@dataclass(frozen=True)
class Case:
    """A kind of document.

    Attributes:
        path: of the file.
        read: reads it as embstore does.
        document: a valid one.
        refusals: what it may raise; it may not raise anything else.
    """

    path: Path
    read: Callable[[], object]
    document: dict[str, Any]
    refusals: type[EmbstoreError] = DamagedError


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    root = tmp_path_factory.mktemp("documents")
    made = synthetic_store(
        root / "store", n=3, dim=2, n_blocks=2, unit="occurrence", texts=["a bank", "the bank"]
    )
    files = made.files
    files.commit(manifest.Change(removed=files.manifest().keys_of(keys.ITEMS)))
    newest = files.manifest()
    [key] = newest.keys_of(keys.CARDS, made.space)
    question = {
        "metric": {"name": "norms", "version": [1, 1], "package": None}, "parameters": {"k": 3,
        "names": ["a"]},
        "rows": {}, "seed": None,
        "inputs": {"a": "b"}, "numpy": "2.3",
        "of": [made.space, "0 0"],
    }  # fmt: skip
    answer = Answer(({"n": 3, "mean": 0.5, "text": "é", "reason": None, "all": [1.0]},), ("note",))
    write_answer(made.root, question, answer)
    [stored] = stored_answers(made.root)
    card = made.root / key
    place = made.root / keys.manifest_key(newest.number)
    return {
        "card": _stored(card, lambda: read_card(files.file(key, entry_of(card)), made.space)),
        "manifest": _stored(place, lambda: StoreFiles.of_folder(made.root).manifest()),
        "answer": _stored(stored, lambda: _read(stored)),
    }


def _stored(path, read):
    return Case(path, read, json.loads(path.read_bytes()))


KINDS = ["card", "manifest", "answer"]
UNSEALED = ("card",)
"""Documents without a hash of their own."""

_NUMBERS = st.one_of(
    st.integers(),
    st.integers(-3, 5),
    st.sampled_from([1 << 31, 1 << 53, 1 << 63, 1 << 64, 10**40, -(1 << 63)]),
    st.floats(),
    st.sampled_from([1.0, 8.0, 1e300, -0.0, 0.5]),
)
_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "../../victim",
            "/",
            "*",
            "items/0.parquet",
            _KEYS[0],
            _KEYS[0] + "\n",
            "\x00",
            "\x1b[2J",
            "\ud800",
            "x" * 5000,
            "toy.occurrence.last",
            "{text}",
            "projection",
            "hnsw",
            "1/3",
            "0" * 64,
        ]
    ),
)
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=8,
)


def places(value, path=()):
    """Every place in a document."""
    yield path
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*path, name))


def put(document, path, value):
    """The document with another value at a place, or without what is there."""
    if not path:
        return value
    changed = copy.copy(document)
    if value is _ABSENT and len(path) == 1:
        del changed[path[0]]
    else:
        changed[path[0]] = put(changed[path[0]], path[1:], value) if len(path) > 1 else value
    return changed


def data_of(document, *, sealed):
    """The bytes of a document, as far as they can be written."""
    try:
        if sealed and isinstance(document, dict):
            blank = {key: value for key, value in document.items() if key != checksum.KEY}
            text = json.dumps({**blank, checksum.KEY: checksum.BLANK}, ensure_ascii=False, indent=2)
            return checksum.with_checksum(text.encode("utf-8", "surrogatepass"))
        return json.dumps(document).encode()
    except (ValueError, TypeError):
        return None


def tried(case, data):
    """Let a document be read, and return whether it was."""
    case.path.parent.mkdir(exist_ok=True)
    case.path.write_bytes(data)
    refused = refusal(case.read, case.refusals)
    assert refused is None or (case.path.name in refused and len(refused) < 2000)
    return refused is None


@pytest.mark.parametrize("kind", KINDS)
def test_anything_in_any_place(cases, kind, tally):
    case, counts = cases[kind], tally("fuzz: a value in a document", kind)
    spots = [*places(case.document)]
    assert tried(case, data_of(case.document, sealed=kind not in UNSEALED) or b"")

    @tries(90)
    @given(VALUES, _TEXTS, st.booleans())
    def run(value, name, sealed):
        changed = [
            put(case.document, path, new)
            for path in spots
            for new in (value, _ABSENT)
            if path or new is value
        ]
        changed += [
            put(case.document, (*path, name), value)
            for path in spots
            if path == () or path[-1] in ("versions", "files")
        ]
        for document in changed:
            if (data := data_of(document, sealed=sealed and kind not in UNSEALED)) is not None:
                tried(case, data)
                counts["faults"] += 1

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes(cases, kind, tally):
    case, counts = cases[kind], tally("fuzz: bytes in a document", kind)
    whole = data_of(case.document, sealed=kind not in UNSEALED) or b""

    @tries(25)
    @given(st.binary(max_size=8), st.integers(0, 40), st.integers(0, 10))
    def run(data, length, offset):
        for at in range(offset, len(whole), 11):
            tried(case, whole[:at] + data + whole[at + length :])
            counts["faults"] += 1

    run()
