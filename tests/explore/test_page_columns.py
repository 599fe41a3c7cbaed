"""Items coloured by columns that a build has kept, and by their place between two sets of words, in
a real browser.
"""

import json
from collections import Counter

import numpy as np
import pytest
from explorer_page import copied, run, until, violations, wait_for_map
from kept_columns import write_columns
from synthetic import synthetic_store

from embstore.explore.questions import colours
from embstore.storage.item_columns import BUILT_IN

pytestmark = pytest.mark.server

N = 60
POS = ["noun", "verb", "noun", "none", None, "<b>x</b>"]
COLUMNS = {
    "pos": [POS[at % len(POS)] for at in range(N)],
    "freq": [None if at % 7 == 0 else 1.5 * at for at in range(N)],
    "frequent": [None if at % 5 == 0 else at >= 30 for at in range(N)],
    'my "col"': [at % 3 for at in range(N)],
}
AXIS = {"colour": "axis", "positive": "word1,word2", "negative": "word3,word4"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("kept") / "s"
    made = synthetic_store(root, texts=[f"word{at}" for at in range(N)], n_blocks=2, top_form=None)
    write_columns(made, COLUMNS)
    return made


def shown_values(page):
    """Return what the items are coloured by, by their texts."""
    return dict(
        page.evaluate("""() => {
              const { map, found } = explorer.panels[0];
              const name = (value) => (value === null || !found.categories ? value : found.categories[value]);
              return map.texts.map((text, item) => [text, name(found.values[item])]);
            }""")
    )


def choose(page, column):
    page.get_by_label("Colour by").select_option(label=f"column {column}")
    until(page, f"explorer.panels[0].found?.label === {json.dumps(column)}")
    assert not page.get_by_label("SQL over the item columns").is_visible()
    return shown_values(page)


def scores(made, layer):
    poles = {"positive": ["word1", "word2"], "negative": ["word3", "word4"]}
    return {
        row["text"]: row["score"]
        for row in made.store.query("axis", layers=layer, top=0, cache=False, **poles)
    }


def test_items_are_coloured_by_kept_columns(opened, kept):
    page = opened(kept)
    wait_for_map(page)
    for column, values in COLUMNS.items():
        expected = {
            f"word{at}": str(value) if isinstance(value, bool) else value
            for at, value in enumerate(values)
        }
        assert choose(page, column) == expected
        legend = page.locator(".legend").inner_text().splitlines()
        n_null = values.count(None)
        assert legend[0] == column
        assert (legend[-1] == f"no value: {n_null} items") == (n_null > 0)
        if column in ("pos", "frequent"):
            counts = Counter(str(value) for value in values if value is not None)
            assert page.locator(".legend li").all_inner_texts() == sorted(
                counts, key=lambda name: (-counts[name], name)
            )
    choose(page, "pos")
    found = page.evaluate(
        "[explorer.panels[0].map.find('word4')[0], explorer.panels[0].map.find('word5')[0]]"
    )
    for item, value in zip(found, ("no value", "<b>x</b>"), strict=True):
        page.evaluate(f"explorer.panels[0].hover({item})")
        assert page.locator(".tip .hint").inner_text() == f"pos: {value}"
    page.get_by_label("Colour by").select_option(label="an SQL expression")
    assert page.get_by_label("SQL over the item columns").input_value() == ""
    until(page, "explorer.panels[0].found === null")
    page.get_by_label("SQL over the item columns").fill("ln(freq + 1)")
    page.keyboard.press("Enter")
    until(page, "explorer.panels[0].found?.label === 'ln(freq + 1)'")
    assert shown_values(page)["word2"] == pytest.approx(np.log(4), rel=1e-12)


def test_a_condition_on_kept_columns_selects_what_the_copied_command_measures(opened, kept):
    page = opened(kept)
    wait_for_map(page)
    choose(page, "frequent")
    page.get_by_label("or where").fill("freq > 50 AND frequent AND pos IS NOT NULL")
    page.keyboard.press("Enter")
    until(page, "explorer.panels[0].selected?.size > 0")
    chosen = [
        at
        for at in range(N)
        if (COLUMNS["freq"][at] or 0) > 50
        and COLUMNS["frequent"][at]
        and COLUMNS["pos"][at] is not None
    ]
    texts = (
        "explorer.panels[0].map.texts.filter((_, item) => explorer.panels[0].selected.has(item))"
    )
    assert sorted(page.evaluate(texts)) == sorted(f"word{at}" for at in chosen)
    page.get_by_text(f"{len(chosen)} of {N} items are selected.").wait_for()
    page.get_by_label("Metric of the selection").select_option("norms")
    page.get_by_role("button", name="Compute").click()
    page.locator("td.n").first.wait_for()
    rows = run(copied(page, "Copy the command"))
    lengths = np.linalg.norm(kept.vectors[:, chosen].astype(np.float64), axis=2).mean(axis=1)
    assert [row["mean"] for row in rows] == pytest.approx(lengths, rel=1e-6)
    heads = page.locator(".explorer table:not(.across) th").all_inner_texts()
    cells = page.locator(
        f".explorer table:not(.across) tbody tr td:nth-child({heads.index('mean') + 1})"
    ).all()
    assert [float(cell.get_attribute("title")) for cell in cells] == [row["mean"] for row in rows]


def test_links_to_a_column_and_to_an_axis_are_accessible(opened, kept):
    for state in ({"colour": "column", "column": '"my ""col"""', "where": "freq > 3"}, AXIS):
        page = opened(kept, 400, **state)
        wait_for_map(page)
        until(
            page,
            "explorer.panels[0].found"
            + (" && explorer.panels[0].selected" if "where" in state else ""),
        )
        if state is AXIS:
            assert shown_values(page) == pytest.approx(scores(kept, "top"))
            assert page.get_by_label("To words").input_value() == "word1,word2"
        else:
            assert page.get_by_label("Colour by").input_value() == 'column:my "col"'
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(500)
            assert violations(page) == [], scheme


def test_a_condition_names_a_column_with_quotation_marks(kept):
    found = kept.store.query("norms", layers="0", where='"my ""col""" = 2')
    assert found["n"] == [sum(value == 2 for value in COLUMNS['my "col"'])]


def test_items_are_coloured_by_their_place_between_words(opened, kept):
    for layer in ("0", "top"):
        found = colours(
            kept.store, kept.space, "axis", layer, positive="word1, word2", negative="word3\nword4"
        )
        texts = [kept.texts[kept.ids.tolist().index(item)] for item in sorted(kept.ids.tolist())]
        assert dict(zip(texts, found["values"], strict=True)) == scores(kept, layer)
        assert found["label"] == f"axis word1, word2 − word3, word4, layer {layer}"
    page = opened(kept, expected="422", layer="0")
    wait_for_map(page)
    assert not page.get_by_label("From words").is_visible()
    page.get_by_label("Colour by").select_option(label="place between two sets of words")
    page.get_by_text(
        "Give words for both ends: items are coloured by their place between them."
    ).wait_for()
    for field, words in (("From words", "word3, word4"), ("To words", "word1, word2")):
        page.get_by_label(field).fill(words)
        page.get_by_label(field).press("Tab")
    until(page, "explorer.panels[0].found?.label === 'axis word1, word2 − word3, word4, layer 0'")
    assert shown_values(page) == pytest.approx(scores(kept, "0"))
    assert (
        page.locator(".legend").inner_text().startswith("axis word1, word2 − word3, word4, layer 0")
    )
    page.keyboard.press("Escape")
    page.locator(".plot").first.focus()
    page.keyboard.press("]")
    until(page, "explorer.panels[0].found?.label === 'axis word1, word2 − word3, word4, layer 1'")
    assert shown_values(page) == pytest.approx(scores(kept, "1"))
    page.get_by_label("To words").fill("word1, nowhere")
    page.get_by_label("To words").press("Tab")
    page.locator(".legend .error").wait_for()
    assert "nowhere" in page.locator(".legend .error").inner_text()
    assert page.evaluate("explorer.panels[0].found") is None


def test_a_metric_is_computed_for_groups(opened, kept):
    page = opened(kept, tab="metrics", metric="anisotropy", layers="1", by="pos")
    page.locator("td.n").first.wait_for()
    assert page.get_by_label("By", exact=True).input_value() == "pos"
    cells = page.locator("table").first.inner_text()
    expected = kept.store.query("anisotropy", layers="1", by="pos", cache=False)
    assert {row["group"] for row in expected} == {"<b>x</b>", "none", "noun", "verb", None}
    for row in expected:
        assert f"{row['anisotropy']:.4f}" in cells
    assert "--by pos" in page.locator("main").inner_text()
    assert page.evaluate("location.hash").count("by=pos") == 1


def test_the_columns_of_labels_and_groups_are_lists(opened, kept):
    page = opened(kept, tab="metrics", metric="knn", parameters='{"label": "frequent"}')
    label = page.get_by_label("label", exact=True)
    label.wait_for()
    names = [*sorted(COLUMNS), *BUILT_IN]
    assert label.input_value() == "frequent"
    assert label.locator("option").all_inner_texts() == ["choose a column", *names]
    listed = page.evaluate(
        "[...document.querySelector('input[list=item-columns]').list.options].map((o) => o.value)"
    )
    assert listed == names
    label.select_option("pos")
    page.get_by_role("button", name="Compute").click()
    page.get_by_text("In every row: space toy.word.last · label pos").wait_for()
