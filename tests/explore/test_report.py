"""The report: what is in it, that it opens without a network, and that it has the same bytes each
time.
"""

import base64
import csv
import io
import json
import re
from itertools import islice

import pytest
from explorer_page import SIDEWAYS, new_page, violations
from hanging import wait_until
from synthetic import synthetic_store
from typer.testing import CliRunner

from embstore import Store
from embstore.base.errors import QueryError, UnknownNameError
from embstore.base.progress import observing
from embstore.explore.report import _drift
from embstore.sources.opening import open_source
from embstore.sources.rows import Row

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    texts = (HOSTILE, *(f"word{number}" for number in range(40)))
    return synthetic_store(tmp_path_factory.mktemp("report") / "toy & co", texts=texts)


@pytest.fixture(scope="module")
def page(store):
    """The page that the command writes."""
    from embstore_cli.main import app

    file = store.root.parent / "report.html"
    done = CliRunner().invoke(app, ["report", "--store", str(store.root), "-o", str(file)])
    assert done.exit_code == 0, done.output
    return file.read_text("utf-8")


def csv_of(page, name):
    [data] = re.findall(
        rf'download="{re.escape(name)}.csv" href="data:text/csv;base64,([^"]+)"', page
    )
    return list(csv.reader(io.StringIO(base64.b64decode(data).decode())))


@pytest.mark.slow
def test_its_tables_are_those_of_the_store_and_its_texts_are_text(store, page):
    opened = Store(store.root)
    for metric in ("anisotropy", "norms", "cka"):
        found = opened.query(metric)
        header, *rows = csv_of(page, metric)
        assert header == list(found.columns)
        assert rows == [
            ["" if row[name] is None else str(row[name]) for name in header] for row in found
        ]
        assert f"embstore plot {metric} --store" in page
    assert re.search(r"<pre>embstore map --store .* --space toy.word.last --method pca</pre>", page)
    assert csv_of(page, "spaces")[1][0] == opened.info()["space"][0]
    card = opened.catalog.cards[opened.info()["space"][0]].to_dict()
    shown = page.partition("Card of ")[2].partition("</dl>")[0]
    assert re.findall("<dt>([^<]+)</dt>", shown) == list(card)
    assert card["weights_sha256"] in shown
    assert csv_of(page, "drift")[0] == list(opened.drift().columns)
    assert page.count("<img ") == page.count("<source ") >= 10
    assert "<img src=x" not in page, "texts are text"
    assert "toy &amp; co" in page
    assert page.count("<script") == page.count("</script>")
    # What needs labels, words, groups or much time is left out.
    sections = re.findall(r'<section id="([^"]+)"', page)
    assert {"cka", "procrustes", "cknna"} <= {*sections}
    needing = {
        "knn",
        "clusters",
        "probe",
        "axis",
        "ceat",
        "change",
        "weat",
        "correlate",
        "imbalance",
        "predictivity",
    }
    assert not needing & {*sections}
    assert 'class="error"' not in page


@pytest.mark.slow
def test_the_command_writes_what_the_method_returns_to_the_byte(store, page):
    assert Store(store.root).report() == page


@pytest.mark.slow
def test_of_many_items_metrics_take_a_sample_a_smaller_one_where_all_are_compared_and_the_map_has_each(
    tmp_path, monkeypatch
):
    # Pictures and tables do not grow with the items.
    monkeypatch.setattr("embstore.explore.report._MOST_ITEMS", 200)
    monkeypatch.setattr("embstore.explore.report._MOST_SEARCHED", 20)
    texts = [
        row.text for row in islice(open_source("words").rows(), 10_000) if isinstance(row, Row)
    ]
    assert len(texts) == 10_000
    opened = synthetic_store(
        tmp_path / "toy & co", texts=texts, n_blocks=6, top_form=None, dim=16
    ).store
    page = opened.report()
    assert 500_000 < len(page.encode()) < 6_000_000
    packed = base64.b64decode(re.findall(r'class="map">([^<]+)<', page)[0])
    header = json.loads(packed[4 : 4 + int.from_bytes(packed[:4], "little")])
    assert (header["n"], len(header["layers"])) == (10_000, 7)
    for metric, n in (("hubness", 20), ("overlap", 20), ("norms", 200), ("anisotropy", 200)):
        assert f"embstore query {metric} --store &#x27;toy &amp; co&#x27; --sample {n}" in page
        header, *rows = csv_of(page, metric)
        assert {row[header.index("n")] for row in rows} == {str(n)}
        found = opened.query(metric, sample=n, cache=False)
        assert rows == [
            ["" if row[name] is None else str(row[name]) for name in header] for row in found
        ]
    header, *rows = csv_of(page, "drift")
    found = opened.drift(sample=20, cache=False)
    assert [row[header.index("overlap")] for row in rows] == [
        str(value) for value in found["overlap"]
    ]


@pytest.mark.slow
def test_drift_is_of_the_spaces_with_several_layers(tmp_path):
    synthetic_store(tmp_path / "s", n=9, n_blocks=0, top_form=None, model="static")
    made = synthetic_store(tmp_path / "s", n=30)
    section = _drift(made.store, made.store.info(), {})
    assert section.problem == ""
    assert set(section.tables["drift"]["space"]) == {made.space}
    assert section.commands == ["embstore drift --store s"]


SCALES = """() => [...document.querySelectorAll("figure img")].map((each) => each.clientWidth / each.naturalWidth)"""


@pytest.mark.server
def test_it_is_accessible_and_only_tables_scroll_sideways(browser, page, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page, "utf-8")
    context = browser.new_context(bypass_csp=True, offline=True)
    shown = new_page(context)
    shown.goto(file.as_uri())
    shown.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    for width, scheme in ((400, "light"), (620, "dark"), (1280, "light")):
        shown.set_viewport_size({"width": width, "height": 800})
        shown.emulate_media(color_scheme=scheme)
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.evaluate(SIDEWAYS) == []
        assert len(shown.evaluate(SCALES)) >= 10
        # Type of 13 pixels is at least 10, once the browser has changed the pictures.
        wait_until(lambda: min(shown.evaluate(SCALES)) >= 0.8, "pictures that suit the window")
        assert violations(shown) == []
    context.close()


@pytest.mark.slow
def test_a_report_is_on_the_spaces_that_are_named_and_says_how_far_it_is(tmp_path):
    made = synthetic_store(tmp_path / "s", n=30)
    synthetic_store(tmp_path / "s", n=30, model="other")
    found = []
    with observing(found.append):
        page = Store(made.root).report(spaces=made.space)
    assert [row[0] for row in csv_of(page, "spaces")[1:]] == [made.space]
    header, *rows = csv_of(page, "norms")
    assert {row[header.index("space")] for row in rows} == {made.space}
    assert page.count('class="map">') == 1
    assert f"embstore query norms --store s --space {made.space}" in page
    assert f"embstore drift --store s --space {made.space}" in page
    of_report = [each for each in found if each.stage == "report"]
    total = len(Store.metrics()) + 1
    assert {each.total for each in of_report} == {total}
    assert of_report[-1].done == total
    inner = [each.within for each in found if each.stage == "compute"]
    assert {within.partition("/")[2] for within in inner} == {str(total)}
    with pytest.raises(UnknownNameError, match="unknown space 'absent'"):
        Store(made.root).report(spaces=["absent"])


def test_an_empty_store_has_no_report(tmp_path):
    made = synthetic_store(tmp_path / "s")
    made.store.remove(made.store.info()["space"])
    with pytest.raises(QueryError, match="no space to report on"):
        Store(made.root).report()


def test_a_file_of_another_type_is_refused_before_anything_is_computed(store, refusal, tmp_path):
    said = refusal("report", "--store", store.root, "-o", tmp_path / "report.pdf")
    assert "a report is an HTML page. Name it report.html." in said
    assert not [*tmp_path.iterdir()]


@pytest.mark.server
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_it_opens_from_the_disk_and_its_map_moves(browser, page, tmp_path, width, scheme):
    file = tmp_path / "report.html"
    file.write_text(page, "utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    shown = new_page(context)
    problems = []
    requested = []
    shown.on("console", lambda message: message.type == "error" and problems.append(message.text))
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("request", lambda request: requested.append(request.url))
    shown.goto(file.as_uri())
    shown.locator("#plane").scroll_into_view_if_needed()
    before = shown.locator(".stage").screenshot()
    shown.locator("#layer").fill("1")
    assert shown.locator("#depth").inner_text() == "layer 1"
    wait_until(lambda: shown.locator(".stage").screenshot() != before, "another picture of the map")
    shown.locator("#find").fill("word3")
    assert shown.locator("#place").inner_text() == "word3"
    shown.locator("#find").fill("absent")
    assert "absent is not on this map" in shown.locator("#place").inner_text()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []
    assert {url for url in requested if not url.startswith("data:")} == {file.as_uri()}
    context.close()
