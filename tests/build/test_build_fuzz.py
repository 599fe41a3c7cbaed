"""Whatever the texts are, each of them is embedded or listed as skipped with its reason, and
nothing crashes.
"""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore import Store
from embstore.base.space import Unit
from embstore.base.text import NO_WORD, TOO_LONG, is_too_long, is_unicode, items_of, words_in

N_TEXTS = 10_000
N_LONG = 4

anything = st.text(st.characters(exclude_categories=()), max_size=20)


@pytest.fixture
def build(tmp_path, checkpoint):
    n_stores = 0

    def run(texts, unit):
        nonlocal n_stores
        n_stores += 1
        # Which joins the halves of a surrogate pair.
        texts[:] = [json.loads(json.dumps(text)) for text in texts]
        source = tmp_path / "texts.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "ascii")
        store = Store(tmp_path / f"store-{n_stores}")
        report = store.build(
            str(source), models=f"tiny={checkpoint}", unit=unit, poolings="last", index="none"
        )
        return store, report

    return run


def check(store, report, texts, unit):
    """Compare a store with the texts, one by one."""
    of_words = [text for text in texts if text.strip() and unit == "occurrence"]
    too_long = [text for text in of_words if is_too_long(text)]
    wordless = [text for text in of_words if not is_too_long(text) and not [*words_in(text)]]
    lost_rows = [*too_long, *wordless]
    taken = [text for text in texts if text.strip() and text not in lost_rows]
    wanted = {item.id: item for text in taken for item in items_of(text, Unit(unit))}
    stored = (
        {}
        if not store.path.exists()
        else dict(
            store.sql(
                "SELECT DISTINCT item_id, text FROM embeddings JOIN items USING (item_id)"
            ).fetchall()
        )
    )
    skipped = {row["item_id"]: row for row in store.skipped() if row["item_id"] is not None}
    assert stored.keys() | skipped.keys() == wanted.keys()
    assert not stored.keys() & skipped.keys()
    assert all(text == wanted[item].text for item, text in stored.items())
    for item, row in skipped.items():
        assert row["text"] == wanted[item].text.encode("utf-8", "backslashreplace").decode()
        assert row["reason"]
    broken = {text for text in taken if not is_unicode(text)}
    lost = [item for item in wanted.values() if (item.context or item.text) in broken]
    assert all("surrogate" in skipped[item.id]["reason"] for item in lost)
    n_blank = sum(not text.strip() for text in texts)
    assert (report.n_texts, report.n_items, report.n_skipped) == (
        len(texts) - n_blank,
        len(wanted),
        len(skipped) + n_blank + len(lost_rows),
    )
    blanks = [row for row in store.skipped() if row["item_id"] is None]
    assert len(blanks) == n_blank + len(lost_rows)
    reasons = [row["reason"] for row in blanks]
    assert (reasons.count(TOO_LONG), reasons.count(NO_WORD)) == (len(too_long), len(wordless))


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(st.lists(anything, max_size=20), st.sampled_from(["word", "sentence", "occurrence"]))
def test_any_texts(build, texts, unit):
    texts = ["dog", *texts]
    check(*build(texts, unit), texts, unit)


def _random_text(rng):
    """One to five characters of one of the planes, of ASCII or of the controls and surrogates."""
    ranges = [
        (0, 0x110000),
        (0, 0x10000),
        (0x20, 0x7F),
        (0x20, 0x7F),
        (0, 0x20),
        (0xD800, 0xE000),
        (0x1F300, 0x1FAFF),
    ]
    ranges += [(plane << 16, (plane + 1) << 16) for plane in range(17)]
    return "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randint(1, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "sentence", "occurrence"])
def test_lines_of_a_million_characters(build, unit):
    """The words of one line are as many characters of context each, if they are not shared."""
    n = 10**6
    many = " ".join(f"w{number}" for number in range(n // 7))
    texts = ["dog runs", "ab " * (n // 9), "é" * n, many, f"{'a ' * (n // 20)}\ud800"]
    store, report = build(texts, unit)
    check(store, report, texts, unit)
    assert report.spaces[0].embedded == (2 if unit == "occurrence" else 1)
    assert report.blanks == ({TOO_LONG: 1} if unit == "occurrence" else {})


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "sentence", "occurrence"])
def test_a_long_line(build, unit):
    texts = ["dog runs", "ab " * 28_000]
    store, report = build(texts, unit)
    check(store, report, texts, unit)
    assert report.spaces[0].skipped["longer than the context"] == (
        28_000 if unit == "occurrence" else 1
    )


@pytest.mark.slow
def test_thousands_of_random_texts(build):
    rng = random.Random(7)
    texts = [_random_text(rng) for _ in range(N_TEXTS)]
    for number in range(N_LONG):
        texts.insert(
            rng.randrange(len(texts)),
            ("é" if number % 2 else "ab ") * (10**6 // (3 - 2 * (number % 2))),
        )
    store, report = build(texts, "word")
    check(store, report, texts, "word")
    reasons = report.spaces[0].skipped
    assert reasons["longer than the context"] >= 2
    assert reasons["not valid Unicode (lone surrogate)"] > N_TEXTS / 30
    assert report.spaces[0].embedded > N_TEXTS // 2
    assert store.verify().ok
