"""Measure the frames of the explorer's map in chromium: benchmark_frames.py '{"name": "URL", …}'
ROUNDS.

A program of its own, since playwright's synchronous interface runs once in a process.
"""

import json
import sys
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from explorer_page import Visit, launch, wait_for_map

_MORPH = """async () => {
  const seconds = [];
  for (let at = 0; at < 30; at++) {
    const began = performance.now();
    explorer.setDepth(at / 30 * (explorer.panels[0].map.layers.length - 1), false);
    await new Promise((done) => requestAnimationFrame(done));
    seconds.push((performance.now() - began) / 1000);
  }
  return seconds.slice(5);
}"""
_REST = """async () => {
  const panel = explorer.panels[0], { gl } = panel.scatter, pixel = new Uint8Array(4), seconds = [];
  for (let at = 0; at < 12; at++) {
    const began = performance.now();
    panel.isMoving = false;
    panel.draw();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); // waits until everything is drawn
    seconds.push((performance.now() - began) / 1000);
    await new Promise((done) => setTimeout(done, 20));
  }
  return seconds.slice(2);
}"""


def main(urls: dict[str, str], n_rounds: int) -> None:
    """Print, for each named explorer, the best median of the seconds of a frame while layers morph,
    and at rest.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        visits = {name: Visit(browser, url) for name, url in urls.items()}
        pages = {name: visit.open(1280, 800) for name, visit in visits.items()}
        for page in pages.values():
            wait_for_map(page)
            page.wait_for_timeout(1_000)
        found: dict[str, dict[str, list[float]]] = {
            name: {"morph": [], "rest": []} for name in pages
        }
        for _ in range(n_rounds):
            for name, page in pages.items():
                page.bring_to_front()
                for what, script in (("morph", _MORPH), ("rest", _REST)):
                    found[name][what].append(median(page.evaluate(f"({script})()")))
        for visit in visits.values():
            visit.close()
        browser.close()
    print(
        json.dumps(
            {
                name: {what: min(medians) for what, medians in each.items()}
                for name, each in found.items()
            }
        )
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
