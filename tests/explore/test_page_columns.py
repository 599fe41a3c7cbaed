"""Columns that a build has kept, in a real browser: colours, legend, hover, conditions and the copied command."""

import json
import shlex
from collections import Counter
from typing import Any

import numpy as np
import pytest
from explorer_page import Visit, copied, until, wait_for_map
from kept_columns import write_columns
from synthetic import Synthetic, synthetic_store
from typer.testing import CliRunner

pytestmark = pytest.mark.server

N = 60
POS = ["noun", "verb", "noun", "none", None, "<b>x</b>"]
COLUMNS: dict[str, list[Any]] = {
    "pos": [POS[at % len(POS)] for at in range(N)],
    "freq": [None if at % 7 == 0 else 1.5 * at for at in range(N)],
    "frequent": [None if at % 5 == 0 else at >= 30 for at in range(N)],
    'my "col"': [at % 3 for at in range(N)],
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    root = tmp_path_factory.mktemp("kept") / "s"
    made = synthetic_store(root, texts=[f"word{at}" for at in range(N)], n_blocks=2)
    write_columns(made, COLUMNS)
    return made


@pytest.fixture(scope="module")
def address(kept: Synthetic, serve: Any) -> str:
    return str(serve(kept.root).url)


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    visit = Visit(browser, address)
    page = visit.open()
    wait_for_map(page)
    yield page
    visit.close()
    assert visit.problems == []


def shown_values(page: Any) -> dict[str, Any]:
    """Return what the items are coloured by, by their texts."""
    return dict(
        page.evaluate(
            """() => {
              const { map, found } = explorer.panels[0];
              const name = (value) => (value === null || !found.categories ? value : found.categories[value]);
              return map.texts.map((text, item) => [text, name(found.values[item])]);
            }"""
        )
    )


def choose(page: Any, column: str) -> dict[str, Any]:
    page.get_by_label("Colour by").select_option(label=f"column {column}")
    until(page, f"explorer.panels[0].found?.label === {json.dumps(column)}")
    assert not page.get_by_label("SQL over the item columns").is_visible()
    return shown_values(page)


def test_items_are_coloured_by_kept_columns(page: Any) -> None:
    for column, values in COLUMNS.items():
        expected = {f"word{at}": str(value) if isinstance(value, bool) else value for at, value in enumerate(values)}
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
    found = page.evaluate("[explorer.panels[0].map.find('word4')[0], explorer.panels[0].map.find('word5')[0]]")
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


def test_a_condition_on_kept_columns_selects_what_the_copied_command_measures(page: Any, kept: Synthetic) -> None:
    choose(page, "frequent")
    page.get_by_label("or where").fill("freq > 50 AND frequent AND pos IS NOT NULL")
    page.keyboard.press("Enter")
    until(page, "explorer.panels[0].selected?.size > 0")
    chosen = [
        at
        for at in range(N)
        if (COLUMNS["freq"][at] or 0) > 50 and COLUMNS["frequent"][at] and COLUMNS["pos"][at] is not None
    ]
    texts = "explorer.panels[0].map.texts.filter((_, item) => explorer.panels[0].selected.has(item))"
    assert sorted(page.evaluate(texts)) == sorted(f"word{at}" for at in chosen)
    page.get_by_text(f"{len(chosen)} of {N} items are selected.").wait_for()
    page.get_by_label("Metric of the selection").select_option("norms")
    page.get_by_role("button", name="Compute").click()
    page.locator("td.n").first.wait_for()
    command = copied(page, "Copy the command")

    from embstore_cli.main import app

    ran = CliRunner().invoke(app, [*shlex.split(command)[1:], "--format", "json"])
    assert ran.exit_code == 0, ran.output
    rows = json.loads(ran.stdout)
    lengths = np.linalg.norm(kept.vectors[:, chosen].astype(np.float64), axis=2).mean(axis=1)
    assert [row["mean"] for row in rows] == pytest.approx(lengths, rel=1e-6)
    heads = page.locator(".explorer table:not(.across) th").all_inner_texts()
    cells = page.locator(f".explorer table:not(.across) tbody tr td:nth-child({heads.index('mean') + 1})").all()
    assert [float(cell.get_attribute("title")) for cell in cells] == [row["mean"] for row in rows]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_link_to_a_column_is_accessible(browser: Any, address: str, scheme: str) -> None:
    reason = "axe-core comes with axe-playwright-python (extra dev)"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason)
    visit = Visit(browser, address)
    page = visit.open(400, scheme=scheme, colour="column", column='"my ""col"""', where="freq > 3")
    wait_for_map(page)
    until(page, "explorer.panels[0].found && explorer.panels[0].selected")
    assert page.get_by_label("Colour by").input_value() == 'column:my "col"'
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    found = axe.Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    visit.close()
    assert visit.problems == []


def test_a_condition_names_a_column_with_quotation_marks(kept: Synthetic) -> None:
    found = kept.store.query("norms", layers="0", where='"my ""col""" = 2')
    assert found["n"] == [sum(value == 2 for value in COLUMNS['my "col"'])]
