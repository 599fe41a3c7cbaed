"""The page in a real browser over stores that are empty, small, sampled or changing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from explorer_page import Visit, until, wait_for_map
from synthetic import synthetic_store


def test_an_empty_store_says_how_to_fill_it(browser: Any, serve: Callable[[Path], Any], tmp_path: Path):
    made = synthetic_store(tmp_path / "store", n=3)
    made.store.remove(made.space)
    visit = Visit(browser, serve(made.root).url)
    page = visit.open()
    page.get_by_role("heading", name="This store holds no items yet").wait_for()
    visit.close()
    assert visit.problems == []


@pytest.mark.parametrize(("texts", "n_blocks"), [(["one"], 2), (["one", "two"], 0), (["a", "b", "c"], 1)])
def test_few_items_and_few_layers(browser: Any, serve: Callable[[Path], Any], tmp_path: Path, texts, n_blocks):
    made = synthetic_store(tmp_path / "store", texts=texts, n_blocks=n_blocks, top_form=None)
    visit = Visit(browser, serve(made.root).url)
    page = visit.open(colour="cluster", q=texts[0])
    wait_for_map(page)
    assert page.evaluate("explorer.panels[0].view.half") > 0
    visit.close()
    assert visit.problems == []


def test_a_store_that_changes_and_vanishes_is_said(browser: Any, serve: Callable[[Path], Any], tmp_path: Path):
    made = synthetic_store(tmp_path / "store", n=5)
    visit = Visit(browser, serve(made.root).url)
    page = visit.open(tab="store")
    page.locator("table").first.wait_for()
    synthetic_store(made.root, texts=["new"])
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.get_by_text("The store has changed since this page was loaded.").wait_for()
    made.root.rename(tmp_path / "away")
    page.evaluate("dispatchEvent(new Event('focus'))")
    until(page, "document.getElementById('banner').textContent.includes('store')")
    page.reload()
    page.get_by_role("heading", name="The store cannot be read").wait_for()
    visit.close()
    assert all("422" in problem for problem in visit.problems)  # chromium notes the answers that say so


def test_colours_and_selections_are_of_the_items_of_a_sampled_map(browser, serve, tmp_path: Path):
    made = synthetic_store(tmp_path / "store", texts=["x" * i for i in range(1, 60)], n_blocks=1, top_form=None)
    made.store.map(sample=20, seed=2)
    visit = Visit(browser, serve(made.root).url)
    page = visit.open(colour="length", where="length(text) > 30")
    wait_for_map(page)
    until(page, "explorer.panels[0].found && explorer.panels[0].selected")
    assert page.evaluate("explorer.panels[0].map.n") == 20
    lengths = [len(text) for text in page.evaluate("explorer.panels[0].map.texts")]
    assert page.evaluate("explorer.panels[0].found.values") == lengths
    selected = page.evaluate("[...explorer.panels[0].selected]")
    assert selected == [item for item, length in enumerate(lengths) if length > 30]
    page.get_by_text("a sample of 20 of 59 items").wait_for()
    visit.close()
    assert visit.problems == []
