"""What the documentation and the README show is what the run measured."""

import json
from xml.etree import ElementTree

import pytest
from report import CHOSEN, PAGE, PLOT, ROOT, growth_plot, points, renew, section, summary
from report_plot import svg_of

_FIGURES = ROOT / "docs" / "benchmarks.json"
_SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


@pytest.mark.docs
@pytest.mark.skipif(not _FIGURES.exists(), reason="no figures are kept yet")
def test_the_pages_show_the_figures_that_are_kept():
    kept = json.loads(_FIGURES.read_text("utf-8"))
    for name, text, heading in (
        (PAGE, section(kept), "Results"),
        ("README.md", summary(kept), "Speed"),
    ):
        page = (ROOT / name).read_text("utf-8")
        assert renew(page, text, heading) == page
    assert summary(kept).count("\n|") == 2 + len(CHOSEN)
    assert points(kept)
    drawn = growth_plot(kept)
    assert drawn is not None
    # Places depend on the version of matplotlib.
    assert texts((ROOT / PLOT).read_text("utf-8")) == texts(svg_of(drawn))
