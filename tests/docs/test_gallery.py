"""The gallery: a picture of each metric, drawn anew from MiniLM and compared with the one in the
documentation.
"""

import os
import re
import sys
from unittest.mock import patch

import numpy as np
import pytest
from docs_pages import DOCS, ROOT
from docs_run import link_store

from embstore.metrics import METRICS

sys.path.insert(0, str(DOCS))
import _gallery

pytestmark = pytest.mark.docs

DATA = ROOT.parent / "shared" / "data"
FILES = {
    "rg65": "rg65.csv",
    "wordsim353": "wordsim353.csv",
    "simlex999": "simlex999.csv",
    "stsb": "sts-test.csv",
    "bellezza": "Bellezza_Lexicon.csv",
}
# Where rounding may decide on a cluster or on the strength of a penalty.
UNSTABLE = ("clusters", "probe")
IDS = re.compile(r"#?\b[A-Za-z]\w*[0-9a-f]{10}\b")  # hashes of what they name
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def test_every_metric_has_a_picture():
    drawn = {picture.metric or name for name, picture in _gallery.PICTURES.items()}
    assert drawn == {*METRICS, "drift"}
    assert {*_gallery.PICTURES} >= drawn
    assert {*_gallery.PICTURES} == {path.stem for path in (DOCS / "gallery").glob("*.svg")}


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the evaluation files beside the project")
def test_the_commands_draw_the_pictures(start_folder, tmp_path):
    from embstore import Store

    with patch.dict(os.environ, EMBSTORE_DATA=str(tmp_path / "data")):  # the command line sets more
        os.environ.pop("EMBSTORE_STORE", None)
        for name, file in FILES.items():
            Store.add_dataset(name, DATA / file)
        # It has the words.
        _gallery.draw(tmp_path / "drawn", lambda store: link_store(start_folder / "store", store))
    for metric in _gallery.PICTURES:
        drawn, shown = (
            folder / f"{metric}.svg" for folder in (tmp_path / "drawn", DOCS / "gallery")
        )
        found, expected = (IDS.sub("id", file.read_text("utf-8")) for file in (drawn, shown))
        assert NUMBER.sub("0", found) == NUMBER.sub("0", expected), metric
        # Other processors round the vectors otherwise, by some 1e-6.
        numbers = [np.array([*map(float, NUMBER.findall(text))]) for text in (found, expected)]
        assert np.allclose(*numbers, rtol=1e-3, atol=5 if metric in UNSTABLE else 0.1), metric
