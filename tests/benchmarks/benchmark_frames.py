"""Measure the frames of the explorer's map in chromium: python benchmark_frames.py URL prints their medians as JSON.

A program of its own, since playwright's synchronous interface runs once in a process.
"""

import json
import sys
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[1] / "support"))

from explorer_page import Visit, launch, wait_for_map

_MORPH = """async () => {
  const seconds = [];
  for (let at = 0; at < 40; at++) {
    const began = performance.now();
    explorer.setDepth(at / 40 * (explorer.panels[0].map.layers.length - 1), false);
    await new Promise((done) => requestAnimationFrame(done));
    seconds.push((performance.now() - began) / 1000);
  }
  return seconds.slice(10);
}"""
_WHOLE = """async () => {
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


def main(url: str) -> None:
    """Print the median seconds of a frame while layers morph, and of one with all items drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        visit = Visit(browser, url)
        page = visit.open(1280, 800)
        wait_for_map(page)
        page.wait_for_timeout(1_000)
        morph, whole = page.evaluate(f"({_MORPH})()"), page.evaluate(f"({_WHOLE})()")
        visit.close()
        browser.close()
    print(json.dumps({"morph": median(morph), "whole": median(whole), "rounds": len(morph)}))


if __name__ == "__main__":
    main(sys.argv[1])
