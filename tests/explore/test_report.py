"""The report: what is in it, that it opens without a network, and that it has the same bytes each time."""

import base64
import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import Synthetic, synthetic_store

from embstore import Store
from embstore.errors import QueryError

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    texts = (HOSTILE, *(f"word{number}" for number in range(40)))
    return synthetic_store(tmp_path_factory.mktemp("report") / "toy & co", texts=texts)


@pytest.fixture(scope="module")
def page(store: Synthetic) -> str:
    return Store(store.root).report()


def csv_of(page: str, name: str) -> list[list[str]]:
    [data] = re.findall(rf'download="{re.escape(name)}.csv" href="data:text/csv;base64,([^"]+)"', page)
    return list(csv.reader(io.StringIO(base64.b64decode(data).decode())))


def test_its_tables_are_those_of_the_store(store: Synthetic, page: str) -> None:
    opened = Store(store.root)
    for metric in ("anisotropy", "norms", "cka"):
        found = opened.query(metric)
        header, *rows = csv_of(page, metric)
        assert header == list(found.columns)
        assert rows == [["" if row[name] is None else str(row[name]) for name in header] for row in found]
        assert f"embstore plot {metric} --store" in page
    assert csv_of(page, "store")[1][0] == opened.info()["space"][0]
    card = opened.catalog.cards[opened.info()["space"][0]]
    assert csv_of(page, "store-2")[1][1] == card.weights_sha256
    assert csv_of(page, "drift")[0] == list(opened.drift(most=5).columns)
    assert page.count("data:image/svg+xml;base64,") >= 10


def test_the_same_store_gives_the_same_bytes(store: Synthetic, page: str) -> None:
    assert Store(store.root).report() == page


def test_texts_are_text(page: str) -> None:
    assert "<img src=x" not in page
    assert "toy &amp; co" in page
    assert page.count("<script") == page.count("</script>")


def test_an_empty_store_has_no_report(tmp_path: Path) -> None:
    made = synthetic_store(tmp_path / "s")
    made.store.remove(made.store.info()["space"])
    with pytest.raises(QueryError, match="no space to report on"):
        Store(made.root).report()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_it_opens_from_the_disk_and_its_map_moves(
    browser: Any, page: str, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, "utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
    shown = context.new_page()
    problems: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: message.type == "error" and problems.append(message.text))
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(file.as_uri())
    shown.locator("#plane").scroll_into_view_if_needed()
    before = shown.locator(".stage").screenshot()
    shown.locator("#layer").fill("1")
    assert shown.locator("#depth").inner_text() == "layer 1"
    assert shown.locator(".stage").screenshot() != before
    shown.locator("#find").fill("word3")
    assert shown.locator("#place").inner_text() == "word3"
    shown.locator("#find").fill("absent")
    assert "absent is not on this map" in shown.locator("#place").inner_text()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []
    assert {url for url in asked if not url.startswith("data:")} == {file.as_uri()}
    context.close()
