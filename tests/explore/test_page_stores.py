"""The page in a real browser over stores that are empty, small, sampled or changing."""

import shlex

import numpy as np
import pytest
from explorer_page import copied, until, until_drawn, wait_for_map
from synthetic import synthetic_store

from embstore.explore.maps import place

pytestmark = pytest.mark.server


def test_an_empty_store_says_how_to_fill_it(opened, tmp_path):
    made = synthetic_store(tmp_path / "store", n=3)
    made.store.remove(made.space)
    page = opened(made)
    page.get_by_role("heading", name="This store holds no items yet").wait_for()


@pytest.mark.parametrize(("texts", "n_blocks"), [(["one"], 2), (["one", "two"], 0)])
def test_few_items_and_few_layers(opened, tmp_path, texts, n_blocks):
    made = synthetic_store(tmp_path / "store", texts=texts, n_blocks=n_blocks, top_form=None)
    page = opened(made, colour="cluster", q=texts[0])
    wait_for_map(page)
    assert page.evaluate("explorer.panels[0].view.half") > 0


def test_a_store_that_changes_and_vanishes_is_said(opened, tmp_path):
    made = synthetic_store(tmp_path / "store", n=30, n_blocks=1, top_form=None)
    page = opened(made, expected="422", tab="store")  # chromium notes the answers that say so
    page.locator("table").first.wait_for()
    synthetic_store(made.root, texts=["new"], n_blocks=1, top_form=None)
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.get_by_text("The store has changed since this page was loaded.").wait_for()
    page.get_by_role("navigation").get_by_role("button", name="Map").click()
    wait_for_map(page)
    made.root.rename(tmp_path / "away")
    page.evaluate("dispatchEvent(new Event('focus'))")
    until(page, "document.getElementById('banner').textContent.includes('store')")
    page.get_by_label("Find a text").fill("text3")
    page.keyboard.press("Enter")
    page.locator(".side .error").first.wait_for()
    page.get_by_role("button", name="Metrics").click()
    page.get_by_role("button", name="Compute").click()
    page.locator("main .error").first.wait_for()
    page.reload()
    page.get_by_role("heading", name="The store cannot be read").wait_for()
    (tmp_path / "away").rename(made.root)
    page.reload()
    page.get_by_role("button", name="Compute").click()
    page.locator("td.n").first.wait_for()


def test_the_newest_space_with_a_map_comes_first(opened, tmp_path):
    root, card = tmp_path / "store", {"n_blocks": 1, "top_form": None}
    synthetic_store(root, n=9, **card)
    newer = synthetic_store(root, n=5, pooling="mean", created="2026-01-01T00:00:00+00:00", **card)
    made = synthetic_store(root, n=9, model="b", created="2027-01-01T00:00:00+00:00", **card)
    page = opened(made, make="")
    page.get_by_role("heading", name="has no map yet").wait_for()
    assert page.evaluate("explorer.panels[0].host.spec.space") == "b.word.last"  # the first of 9
    made.store.map(spaces=["toy.word.last", newer.space])
    page.reload()
    wait_for_map(page)
    assert page.evaluate("explorer.panels[0].map.space") == newer.space


def test_colours_and_selections_are_of_the_items_of_a_sampled_map(opened, tmp_path):
    made = synthetic_store(
        tmp_path / "store", texts=["x" * i for i in range(1, 60)], n_blocks=1, top_form=None
    )
    made.store.map(sample=20, seed=2)
    page = opened(made, colour="length", where="length(text) > 30")
    wait_for_map(page)
    until(page, "explorer.panels[0].found && explorer.panels[0].selected")
    assert page.evaluate("explorer.panels[0].map.n") == 20
    lengths = [len(text) for text in page.evaluate("explorer.panels[0].map.texts")]
    assert page.evaluate("explorer.panels[0].found.values") == lengths
    selected = page.evaluate("[...explorer.panels[0].selected]")
    assert selected == [item for item, length in enumerate(lengths) if length > 30]
    page.get_by_text("a sample of 20 of 59 items").wait_for()


def test_a_space_without_a_map_offers_to_make_one_which_can_be_cancelled_and_needs_webgl(
    opened, tmp_path
):
    made = synthetic_store(tmp_path / "it's a store", n=30, n_blocks=1, top_form=None)
    page = opened(made, make="", q="text3")
    page.get_by_role("heading", name=f"{made.space} has no map yet").wait_for()
    page.locator(".near-block li").first.wait_for()  # neighbours need no map
    command = copied(page, "Copy the command")
    assert shlex.split(command)[1:] == [
        "map",
        "--store",
        str(made.root),
        "--method",
        "tsne",
        "--space",
        made.space,
    ]
    assert page.evaluate("explorer.panels[0].map") is None
    page.route("**/api/map*", lambda _route: None)  # no answer
    page.get_by_role("button", name="Make the PCA map now").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    page.unroute("**/api/map*")
    page.get_by_role("button", name="Try again").click()
    wait_for_map(page)
    until(page, "location.hash.includes('make=1')")  # a link shows the map at once
    page.add_init_script("""const own = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind === "webgl2" ? null : own.call(this, kind, ...more);
        };""")
    page.reload()
    page.get_by_text("This browser has no WebGL2, which draws the map.").wait_for()
    page.locator(".near-block li").first.wait_for()


def test_occurrences_without_a_map_are_given_in_brackets(opened, tmp_path):
    made = synthetic_store(
        tmp_path / "store", unit="occurrence", texts=["a bank of a river", "a bank"], n_blocks=1
    )
    page = opened(made, make="", q="bank", where="text = 'bank'")
    page.get_by_text(
        "Its sentences are listed once there is a map. Or give one, with brackets"
    ).wait_for()
    page.get_by_text(
        "Selected are the items of the condition; they are counted once there is a map."
    ).wait_for()
    page.get_by_role("button", name="Make the PCA map now").click()
    page.get_by_text("Choose one occurrence.").wait_for()
    page.get_by_text("2 of 7 items are selected.").wait_for()
    assert sorted(page.locator(".contexts button").all_inner_texts()) == [
        "a bank",
        "a bank of a river",
    ]


def test_a_text_that_is_not_on_a_map_is_placed_there(opened, tmp_path):
    pytest.importorskip("openTSNE", reason="t-SNE is openTSNE's (extra map)")
    made = synthetic_store(tmp_path / "store", n=60, n_blocks=2, top_form=None)
    made.store.map(sample=25, seed=3)
    made.store.map(method="tsne", sample=25, seed=3)
    shown = set(made.store.map_points(made.space, 0, sample=25, seed=3)[0].tolist())
    text = next(
        text for text, item in zip(made.texts, made.ids.tolist(), strict=True) if item not in shown
    )
    for method, standing in (
        ("pca", "Its place is exact."),
        ("tsne", "Its place is approximate: amid its five nearest."),
    ):
        name = f"stored {method}, sample 25, seed 3"
        page = opened(made, map=name, q=text, layer="1")
        wait_for_map(page)
        page.get_by_text(f"“{text}” is not on this map. {standing}").wait_for()
        low = page.evaluate("explorer.panels[0].map.low")
        places = page.evaluate("explorer.panels[0].placed.places")
        expected = place(made.store, space=made.space, name=name, text=text)["places"]
        np.testing.assert_allclose(np.add(places, low), expected, rtol=1e-9)
        until_drawn(page)
        before = page.locator(".plot").screenshot()
        page.evaluate("explorer.panels[0].placed = null; explorer.panels[0].redraw()")
        until_drawn(page)
        assert page.locator(".plot").screenshot() != before
        page.get_by_label("Find a text").fill(made.texts[0])
        page.keyboard.press("Enter")
        until(page, "explorer.panels[0].placed === null")
