"""Items coloured by their place between two sets of words, in a real browser, and groups in the tab Metrics."""

import json
from typing import Any

import pytest
from explorer_page import Visit, until, wait_for_map
from kept_columns import write_columns
from synthetic import Synthetic, synthetic_store

from embstore.explore.questions import colours

pytestmark = pytest.mark.server

WORDS = [f"word{at}" for at in range(40)]
POLES = {"positive": "word1, word2", "negative": "word3\nword4"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    root = tmp_path_factory.mktemp("axis") / "s"
    made = synthetic_store(root, texts=WORDS, n_blocks=2, top_form=None)
    write_columns(made, {"pos": ["NV"[at % 2] for at in range(40)]})
    return made


@pytest.fixture(scope="module")
def address(made: Synthetic, serve: Any) -> str:
    return str(serve(made.root).url)


def scores(made: Synthetic, layer: str) -> dict[str, float]:
    found = made.store.query(
        "axis", layers=layer, top=0, positive=["word1", "word2"], negative=["word3", "word4"], cache=False
    )
    return {row["text"]: row["score"] for row in found}


def shown_values(page: Any) -> dict[str, Any]:
    """Return what the items are coloured by, by their texts."""
    values = "explorer.panels[0].map.texts.map((text, item) => [text, explorer.panels[0].found.values[item]])"
    return dict(page.evaluate(values))


@pytest.mark.parametrize("layer", ["0", "top"])
def test_the_server_gives_the_scores_of_the_metric(made: Synthetic, layer: str) -> None:
    found = colours(made.store, made.space, "axis", layer, **POLES)
    texts = [made.texts[made.ids.tolist().index(item)] for item in sorted(made.ids.tolist())]
    assert dict(zip(texts, found["values"], strict=True)) == scores(made, layer)
    assert found["label"] == f"axis word1, word2 − word3, word4, layer {layer}"


def test_items_are_coloured_by_their_place_between_words(browser: Any, address: str, made: Synthetic) -> None:
    visit = Visit(browser, address, expected="422")
    page = visit.open(layer="1")
    wait_for_map(page)
    assert not page.get_by_label("From words").is_visible()
    page.get_by_label("Colour by").select_option(label="place between two sets of words")
    page.get_by_text("Give words for both ends: items are coloured by their place between them.").wait_for()
    page.get_by_label("From words").fill("word3, word4")
    page.get_by_label("From words").press("Tab")
    page.get_by_label("To words").fill("word1, word2")
    page.get_by_label("To words").press("Tab")
    until(page, "explorer.panels[0].found?.label === 'axis word1, word2 − word3, word4, layer 1'")
    assert shown_values(page) == pytest.approx(scores(made, "1"))
    assert page.locator(".legend").inner_text().startswith("axis word1, word2 − word3, word4, layer 1")
    page.keyboard.press("Escape")
    page.locator(".plot").first.focus()
    page.keyboard.press("]")
    until(page, "explorer.panels[0].found?.label === 'axis word1, word2 − word3, word4, layer 2'")
    assert shown_values(page) == pytest.approx(scores(made, "2"))
    page.get_by_label("To words").fill("word1, nowhere")
    page.get_by_label("To words").press("Tab")
    page.locator(".legend .error").wait_for()
    assert "nowhere" in page.locator(".legend .error").inner_text()
    assert page.evaluate("explorer.panels[0].found") is None
    visit.close()
    assert visit.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_link_to_an_axis_gives_the_same_colours_and_is_accessible(
    browser: Any, address: str, made: Synthetic, scheme: str
) -> None:
    reason = "axe-core comes with axe-playwright-python (extra dev)"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason)
    visit = Visit(browser, address)
    page = visit.open(400, scheme=scheme, colour="axis", positive="word1,word2", negative="word3,word4")
    wait_for_map(page)
    until(page, "explorer.panels[0].found")
    assert shown_values(page) == pytest.approx(scores(made, "top"))
    assert page.get_by_label("To words").input_value() == "word1,word2"
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    found = axe.Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    visit.close()
    assert visit.problems == []


def test_a_metric_is_computed_for_groups(browser: Any, address: str, made: Synthetic) -> None:
    visit = Visit(browser, address)
    page = visit.open(tab="metrics", metric="anisotropy", layers="1", by="pos")
    page.locator("td.n").first.wait_for()
    assert page.get_by_label("By", exact=True).input_value() == "pos"
    cells = page.locator("table").first.inner_text()
    expected = made.store.query("anisotropy", layers="1", by="pos", cache=False)
    assert [row["group"] for row in expected] == ["N", "V"]
    for row in expected:
        assert f"{row['anisotropy']:.4f}" in cells
    assert "--by pos" in page.locator("main").inner_text()
    assert json.loads(json.dumps(page.evaluate("location.hash"))).count("by=pos") == 1
    visit.close()
    assert visit.problems == []
