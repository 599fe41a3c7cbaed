"""Take the pictures of the explorer and the report: python docs/_screenshots.py [STORE].

It needs the extra dev and chromium. Without STORE a store is built with the packaged MiniLM in a
temporary folder: that takes minutes.
"""

import contextlib
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "screenshots"
STAMP = FOLDER / "taken_of.txt"
sys.path.append(str(ROOT / "tests" / "support"))

_COLOURS = 128
_SETUP = (
    ("build", "words", "rg65", "wordsim353", "simlex999", "--model", "minilm"),
    ("build", "words", "--model", "minilm", "--pooling", "mean"),
    ("build", "stsb", "--unit", "sentence", "--pooling", "mean", "--model", "minilm"),
    ("map", "--method", "tsne", "--space", "minilm.word.last"),
)
WORDS = "minilm.word.last"


class Screenshot(NamedTuple):
    """A picture of the explorer.

    Attributes:
        alt: What it shows, for those who do not see it.
        state: State of the page, as in its address.
        scheme: ``light`` or ``dark``.
        selector: Element that the picture shows; empty for the whole window.
    """

    alt: str
    state: dict[str, str]
    scheme: str = "light"
    selector: str = ""


SCREENSHOTS = {
    "explore-map": Screenshot(
        "The map of 10,000 words in layer 4, coloured by cluster; dog and its neighbours are"
        " marked, and listed beside",
        {"q": "dog", "layer": "4", "colour": "cluster", "panels": WORDS},
    ),
    "explore-panels": Screenshot(
        "Four panels in the dark theme: words and sentences, two poolings and two layers, with dog"
        " marked in three",
        {
            "q": "dog",
            "panels": f"{WORDS};minilm.word.mean;minilm.sentence.mean;{WORDS}@0",
            "make": "1",
        },
        "dark",
    ),
    "explore-layers": Screenshot(
        "A heat map of the similarity of each pair of layers, with the command that gives the same"
        " numbers",
        {"tab": "layers", "metric": "cka", "space": WORDS},
    ),
    "explore-datasets": Screenshot(
        "The correlation with human scores over the layers as a curve with an interval, the best"
        " layer marked",
        {"tab": "datasets", "dataset": "wordsim353", "space": WORDS},
        "dark",
    ),
}
REPORT = Screenshot(
    "A report: its list of sections, and the interactive map with its layer slider",
    {},
    "light",
    "#map",
)


def stamp() -> str:
    """Return a hash of the files that determine how the pages look."""
    static = ROOT / "embstore" / "explore" / "static"
    looks = sorted([*static.glob("*.css"), *static.glob("*.html")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in looks)).hexdigest()


def take(store: Path) -> None:
    """Take all pictures of a store."""
    from explorer_page import launch
    from playwright.sync_api import sync_playwright

    from embstore import Store

    FOLDER.mkdir(exist_ok=True)
    with (
        Store(store).explore(port=0) as server,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as work,
    ):
        browser = launch(playwright)
        for name, screenshot in SCREENSHOTS.items():
            _save(_page(browser, server.url, screenshot), name)
        report = Path(work) / "report.html"
        report.write_text(Store(store).report(), "utf-8")
        page = browser.new_context(
            viewport={"width": 1280, "height": 800}, color_scheme=REPORT.scheme
        ).new_page()
        page.goto(report.as_uri())
        page.locator("#space").select_option(label=WORDS)
        page.locator("#find").fill("dog")
        page.locator("#layer").fill("4")
        page.evaluate(
            "document.activeElement.blur(); document.querySelector('#map').scrollIntoView()"
        )
        _save(page, "report")
        browser.close()
    STAMP.write_text(f"{stamp()}\n", "utf-8")


def _page(browser: Any, url: str, screenshot: Screenshot) -> Any:
    from explorer_page import Visit, wait_for_map

    page = Visit(browser, url).open(1280, 800, screenshot.scheme, **screenshot.state)
    if screenshot.state.get("tab", "map") == "map":
        wait_for_map(page, screenshot.state["panels"].count(";") + 1)
        page.locator(".near-block li").first.wait_for()
    else:
        page.get_by_text("The same numbers elsewhere").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2_000)
    return page


def _save(page: Any, name: str) -> None:
    """Save a picture with few colours, which makes it small."""
    from PIL import Image

    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    page.context.close()
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def main() -> None:
    """Take the pictures of the store that is named, or of one that is built now."""
    if len(sys.argv) > 1:
        return take(Path(sys.argv[1]))
    # The pages show the path of the store.
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        store = Path("words")
        for arguments in _SETUP:
            subprocess.run(
                [sys.executable, "-m", "embstore", *arguments, "--store", str(store)], check=True
            )
        return take(store)


if __name__ == "__main__":
    main()
