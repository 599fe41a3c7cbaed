"""The page in a real browser: what it shows, what it asks for, and its use without a mouse."""

from itertools import combinations

import pytest
from explorer_page import (
    SIDEWAYS,
    Visit,
    copied,
    new_page,
    pixels,
    run,
    until,
    until_drawn,
    violations,
    wait_for_map,
)
from local_server import LocalHandler, LocalServer

pytestmark = pytest.mark.server

SPACE = "toy.word.last"
HOSTILE = "<img src=x onerror=alert(1)>"
VIEWS = ("map", "neighbours", "metrics", "layers", "datasets", "sql", "store")


def near(page):
    found = page.locator(".near-block").first.locator("li").all()
    return [
        (
            each.locator(".word").inner_text(),
            float(each.locator(".cosine").get_attribute("data-value")),
        )
        for each in found
    ]


def test_the_slider_moves_the_items_play_visits_all_layers_and_a_click_on_an_item_searches_it(
    visit,
):
    page = visit.open()
    wait_for_map(page)
    first = pixels(page)
    page.get_by_role("slider", name="Layer").focus()
    page.keyboard.press("Home")
    until(page, "explorer.depth === 0")
    at_first_layer = pixels(page)
    assert at_first_layer != first
    page.evaluate("explorer.setDepth(0.5, false)")
    assert pixels(page) not in (first, at_first_layer)  # between the layers
    page.keyboard.press("End")
    until(page, "explorer.depth === 4")
    assert pixels(page) == first
    page.keyboard.press("Home")
    until(page, "explorer.depth === 0")
    page.evaluate(
        "window.seen = new Set(); setInterval(() => seen.add(Math.round(explorer.depth)), 5)"
    )
    page.get_by_role("button", name="Play the layers").click()
    until(page, "explorer.depth === 4 && seen.size === 5")
    page.get_by_role("button", name="Play the layers").wait_for()
    place = page.evaluate("""() => {
          const panel = explorer.panels[0], item = panel.map.find("dog")[0], places = panel.map.places.at(-1);
          const [x, y] = panel.toScreen([0, 1].map((i) => places[2 * item + i] / 65535 * panel.map.span[i]));
          const box = panel.plot.getBoundingClientRect();
          return [x + box.left, y + box.top];
        }""")
    page.mouse.move(*place)
    page.locator(".tip:not([hidden])").wait_for()
    named = page.locator(".tip").inner_text()
    page.mouse.click(*place)
    until(page, "document.querySelector('[data-search]').value !== ''")
    assert page.locator("[data-search]").input_value() == named


def test_a_typed_word_has_the_neighbours_of_the_command_to_the_last_digit(visit):
    page = visit.open()
    wait_for_map(page)
    page.keyboard.press("/")
    page.keyboard.insert_text("dog")  # at once: key by key, the list of "d" may come before
    page.locator(".combo li").first.wait_for()
    assert page.locator(".combo li").all_inner_texts()[:3] == ["dog", "doge", "dogs"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(".near-block li").first.wait_for()
    command = copied(page, "Copy the command")
    rows = [
        row for row in run(command) if row["layer_name"] == "normed" or row["layer_name"] == "raw"
    ]
    assert [cosine for _, cosine in near(page)] == [row["cosine"] for row in rows]
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Selection").click()
    for depth in (3, 2):
        page.keyboard.press("[")
        until(page, f"explorer.depth === {depth}")
    until(page, "document.querySelector('.near-block')?.dataset.layer === '2'")
    assert [cosine for _, cosine in near(page)] == [
        row["cosine"] for row in run(command) if row["layer_name"] == "2"
    ]
    assert page.evaluate("explorer.panels[0].near.length") == 10


def test_a_metric_of_a_lasso_is_that_of_the_copied_command(visit):
    page = visit.open()
    wait_for_map(page)
    box = page.locator(".plot").bounding_box()
    page.get_by_role("button", name="Lasso").click()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    corners = [(-160, -150), (160, -150), (170, 160), (-160, 150), (-160, -140)]
    page.mouse.move(middle[0] + corners[0][0], middle[1] + corners[0][1])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(middle[0] + x, middle[1] + y, steps=5)
    page.mouse.up()
    until(page, "explorer.panels[0].selected?.size > 0")
    n = page.evaluate("explorer.panels[0].selected.size")
    assert 0 < n < page.evaluate("explorer.panels[0].map.n")
    page.get_by_label("Metric of the selection").select_option("norms")
    page.get_by_role("button", name="Compute").click()
    page.locator("td.n").first.wait_for()
    rows = run(copied(page, "Copy the command"))
    assert {row["n"] for row in rows} == {n}
    heads = page.locator(".explorer table:not(.across) th").all_inner_texts()
    shown = page.locator(
        f".explorer table:not(.across) tbody tr td:nth-child({heads.index('mean') + 1})"
    ).all()
    assert [float(cell.get_attribute("title")) for cell in shown] == [row["mean"] for row in rows]
    python = copied(page, "Copy the line of Python")
    assert eval(python, {"embstore": __import__("embstore")})["mean"] == [
        row["mean"] for row in rows
    ]
    visit.expected = "422"  # no column is given yet
    page.get_by_label("Metric of the selection").select_option("correlate")  # which needs a column
    page.get_by_role("button", name="Compute").click()
    page.get_by_role("heading", name="Metrics").wait_for()
    assert page.get_by_label("Where").input_value().count(",") == n - 1


def test_a_link_reproduces_the_view(visit):
    state = {
        "q": "dog",
        "layer": "1",
        "colour": "norm",
        "where": "length(text) > 4",
        "k": "5",
        "view": "2.1,2.2,1.1",
        "panels": f"{SPACE};{SPACE}@0;toy.sentence.mean",
    }
    page = visit.open(**state)
    _wait_for_all(page)
    other = Visit(visit.browser, f"{visit.url}{page.evaluate('location.hash')}", visit.problems)
    twin = other.open()
    _wait_for_all(twin)
    assert pixels(twin) == pixels(page)
    assert near(twin) == near(page)
    assert twin.evaluate(
        "explorer.panels.map((p) => [p.map.space, p.depth, p.selected.size, p.view])"
    ) == page.evaluate(
        "explorer.panels.map((p) => [p.map.space, p.depth, p.selected.size, p.view])"
    )
    other.close()


def _wait_for_all(page):
    """Wait for three maps with their colours, the selection and the neighbours."""
    wait_for_map(page, 3)
    page.locator(".near-block li").first.wait_for()
    until(page, "explorer.panels.every((panel) => panel.found && panel.selected)")
    until_drawn(page)


def test_a_map_comes_back_when_the_graphics_card_has_lost_it(visit):
    page = visit.open(colour="norm")
    wait_for_map(page)
    until(page, "explorer.panels[0].found")
    before = pixels(page)
    visit.expected = "context"
    page.evaluate("""() => {
        window.norms = String(explorer.panels[0].found.values);
        window.events = [];
        for (const name of ["webglcontextlost", "webglcontextrestored"]) {
            explorer.panels[0].canvas.addEventListener(name, () => events.push(name));
        }
        window.card = explorer.panels[0].scatter.gl.getExtension("WEBGL_lose_context");
        card.loseContext();
    }""")
    until(page, "events.includes('webglcontextlost')")
    assert page.evaluate("explorer.panels[0].scatter.gl.isContextLost()")
    page.evaluate("explorer.setDepth(1)")
    until_drawn(page)
    page.evaluate("card.restoreContext()")
    until(page, "events.includes('webglcontextrestored')")
    page.evaluate("explorer.setDepth(4)")
    until(page, "String(explorer.panels[0].found?.values) === norms")  # of this layer again
    assert pixels(page) == before


def test_panels_are_linked(visit):
    page = visit.open()
    wait_for_map(page)
    for n in (2, 3, 4):
        page.get_by_role("button", name="Add a panel").click()
        wait_for_map(page, n)
    assert not page.get_by_role("button", name="Add a panel").is_visible()
    before = page.evaluate("explorer.panels.map((panel) => panel.view.half)")
    page.locator(".plot").nth(1).focus()
    page.keyboard.press("+")
    until(
        page,
        f"explorer.panels.every((panel) => Math.abs(panel.view.half - {0.8 * before[0]!r}) < 1e-9)",
    )
    assert len(set(before)) == 1
    page.get_by_label("Space of this panel").nth(2).select_option("toy.sentence.mean")
    wait_for_map(page, 4)
    assert page.evaluate("explorer.panels[2].map.space") == "toy.sentence.mean"
    page.get_by_role("button", name="Close this panel").first.click()
    wait_for_map(page, 3)


def test_panels_that_are_closed_while_their_maps_are_loaded_leave_nothing_behind(visit):
    page = visit.open()
    page.get_by_role("button", name="Add a panel").wait_for()
    page.evaluate("""() => {
        window.former = [...explorer.panels];
        for (let n = 1; n < 4; n++) {
            document.querySelector("[aria-label='Add a panel']").click();
            former.push(...explorer.panels);
        }
    }""")
    wait_for_map(page, 4)
    closed = "former.filter((panel) => !explorer.panels.includes(panel))"
    assert page.evaluate(f"{closed}.length") == 1 + 2 + 3
    assert page.evaluate(
        f"{closed}.every((panel) => !panel.scatter || panel.scatter.gl.isContextLost())"
    )


def test_labels_do_not_collide_and_the_way_back_leads_to_the_view_as_it_was_left(visit):
    page = visit.open(q="dog")
    page.locator(".near-block li").first.wait_for()
    wait_for_map(page)
    # The first, of the searched text, is always there.
    _, *others = boxes = page.evaluate("explorer.panels[0].labels")
    assert len(boxes) > 10
    name = page.evaluate("""() => {
        const at = explorer.panels[0].plot.getBoundingClientRect();
        const box = document.querySelector(".layer-name").getBoundingClientRect();
        return [box.left - at.left, box.top - at.top, box.right - at.left, box.bottom - at.top];
    }""")
    assert name[2] > name[0] + 10
    for a, b in combinations([*others, [*name, ""]], 2):
        room = 40 if a[4] == b[4] else -1  # labels of one text stand apart; pixels are rounded
        assert a[2] + room < b[0] or a[0] > b[2] + room or a[3] + room < b[1] or a[1] > b[3] + room
    page.evaluate("document.querySelector('[data-search]').focus()")
    page.get_by_label("Find a text").fill("cat")
    page.keyboard.press("Enter")
    page.get_by_role("navigation").get_by_role("button", name="SQL").click()
    page.get_by_label("Statement").wait_for()
    page.go_back()
    until(page, "document.querySelector('[data-search]')?.value === 'cat'")


def test_a_metric_takes_transforms_with_several_numbers_and_names_its_fields(visit):
    page = visit.open(tab="metrics", metric="norms", space=SPACE, transforms="drop:1,2, center")
    page.locator("figure, .hint").first.wait_for()
    command = copied(page, "Copy the command")
    assert "--transform drop:1,2 --transform center" in command
    assert "--metric" not in command
    link = page.evaluate("location.href")
    assert "parameters=%7B%7D" in link  # a link reproduces what was computed
    page.get_by_role("combobox", name="Metric").select_option("weat")
    page.get_by_label("x", exact=True).wait_for()
    visit.expected = "422"
    page.get_by_role("button", name="Compute").click()
    page.get_by_role("alert").filter(has_text="weat needs x='WORDS' and y='WORDS'").wait_for()


def test_the_occurrences_of_a_word_are_listed_with_their_sentences(visit):
    page = visit.open(panels="toy.occurrence.last", q="bank", colour="sentence")
    wait_for_map(page)
    listed = page.locator(".contexts button")
    listed.first.wait_for()
    assert sorted(listed.all_inner_texts()) == [
        "the bank lends <b>money</b>",
        "the bank of the river",
    ]
    assert page.evaluate("explorer.panels[0].query.length") == 2
    until(page, "explorer.panels[0].found")
    assert page.locator(".legend li").all_inner_texts() == [
        "the bank lends <b>money</b>",
        "the bank of the river",
    ]
    page.evaluate("explorer.panels[0].hover(explorer.panels[0].query[0])")
    assert page.locator(".tip").inner_text() in listed.all_inner_texts(), "the sentence, once"
    listed.filter(has_text="river").click()
    page.locator(".near-block li").first.wait_for()
    command = copied(page, "Copy the command")
    assert "--text 'the [bank] of the river'" in command
    assert [cosine for _, cosine in near(page)] == [
        row["cosine"] for row in run(command) if row["layer_name"] in ("raw", "normed")
    ]


def test_other_views_open_on_the_space_of_the_map(visit):
    page = visit.open()
    wait_for_map(page)
    [shown], spaces = page.evaluate(
        "[explorer.panels.map((p) => p.map.space), explorer.spaces.map((s) => s.space)]"
    )
    other = next(space for space in reversed(spaces) if space != shown)
    for space, opened in ((shown, page), (other, visit.open(panels=other))):
        until(opened, "window.explorer?.panels.length === 1")
        opened.get_by_role("button", name="Neighbours").click()
        assert opened.get_by_label("Space").input_value() == space
        opened.get_by_role("button", name="Layers × layers").click()
        assert opened.get_by_label("Space").input_value() == space


@pytest.mark.parametrize("metric", ["cka", "procrustes"])
def test_a_heat_map_has_one_colour_for_equal_layers_and_opens_the_two_of_a_cell(visit, metric):
    page = visit.open(tab="layers", metric=metric, space=SPACE)
    cell = page.locator("table.heat tbody tr").nth(1).locator("td button").nth(3)
    cell.wait_for()
    colours = page.evaluate(
        "[...document.querySelectorAll('table.heat tbody tr')].map((row) =>"
        " [...row.querySelectorAll('td')].map((cell) => getComputedStyle(cell).backgroundColor))"
    )
    dark = "rgb(6, 48, 61)"  # the upper end of the ramp
    assert [row.index(dark) for row in colours] == list(range(len(colours)))
    assert sum(row.count(dark) for row in colours) == len(colours)
    rows = run(copied(page, "Copy the command"))
    [expected] = [
        row[metric] for row in rows if (row["layer_name"], row["layer_name_2"]) == ("1", "3")
    ]
    assert float(cell.get_attribute("data-value")) == expected
    cell.click()
    wait_for_map(page, 2)
    assert page.evaluate("explorer.panels.map((p) => p.depth)") == [1, 3]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_texts_as_text_fits_400_pixels_and_is_accessible(visit, view):
    select = "SELECT DISTINCT text, '<b>x</b>' AS \"<i>y</i>\" FROM items"
    where = "text LIKE '%<%' OR length(text) = 6"
    words = {"q": HOSTILE, "dataset": "pairs", "sql": select, "where": where, "space": SPACE}
    metric = "cka" if view == "layers" else "norms"
    page = visit.open(400, 800, tab=view, colour="column", column="text", metric=metric, **words)
    for kind in ("command", "line of Python"):
        page.get_by_role("button", name=f"Copy the {kind}").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    assert page.evaluate(SIDEWAYS) == []
    made = "main img:not([src^='blob:']), main script, main b, main i:not([aria-hidden]), header b"
    assert page.locator(made).count() == 0
    assert "\u202e" not in page.content()
    assert "\x1b" not in page.locator("main").inner_text()
    assert "<b>store" in page.locator("header").inner_text()
    page.set_viewport_size({"width": 1200, "height": 800})
    inks = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        if view in ("layers", "metrics"):  # which are drawn for one scheme
            page.reload()
            page.wait_for_load_state("networkidle")
        ink = "getComputedStyle(document.body).color"
        page.wait_for_function(f"(inks) => !inks.includes({ink})", arg=[*inks])
        page.wait_for_timeout(500)
        inks.add(page.evaluate(ink))
        assert violations(page) == [], scheme
    assert len(inks) == 2, "the scheme has changed"


def test_the_keyboard_alone_suffices(visit):
    page = visit.open()
    wait_for_map(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
            )
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body"), (
            reached[-1]
        )
    names = {
        "Metrics",
        "Space of this panel",
        "Layer of this panel",
        "Add a panel",
        "Play the layers",
        "Layer",
    }
    assert {*reached} > {*names, "Lasso", "Compute"}
    page.locator("nav button", has_text="Neighbours").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Neighbours").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("dog")
    page.keyboard.press("Enter")
    page.locator("table.layers td").first.wait_for()
    page.go_back()
    page.get_by_role("heading", name="Map", exact=True).wait_for(state="attached")
    wait_for_map(page)
    before = page.evaluate("explorer.panels[0].view.x")
    page.locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("explorer.panels[0].view.x") > before


def test_a_link_on_another_page_leads_here(visit):
    class Page(LocalHandler):
        def answer(self):
            self.reply(
                200, f'<a href="{visit.url}">explorer</a>'.encode(), {"Content-Type": "text/html"}
            )

    with LocalServer(Page) as other:
        page = new_page(visit.browser.new_context())
        page.goto(f"http://localhost:{other.server_port}/")
        page.get_by_role("link").click()
        page.get_by_role("heading", name="Map", exact=True).wait_for(state="attached")
        page.context.close()


def test_a_slow_query_is_cancelled_and_rows_that_are_cut_are_said(patient_visit):
    page = patient_visit.open(tab="sql", sql="SELECT count(*) FROM range(100000000000) a")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    page.get_by_label("Statement").fill("SELECT 7 AS seven")
    page.get_by_role("button", name="Run").click()
    page.get_by_role("cell", name="7", exact=True).wait_for()
    page.get_by_label("Statement").fill("SELECT * FROM range(5000)")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("The first 1,000 rows; there are more.").wait_for()
