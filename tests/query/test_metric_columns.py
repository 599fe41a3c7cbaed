"""The exact columns of a row of every metric, in their order: ``tests/golden/columns.json``."""

import json

import golden_columns
import pytest
from every_metric import prepare

EXPECTED = json.loads(golden_columns.FILE.read_text("utf-8"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("columns") / "store").root


@pytest.mark.parametrize("name", golden_columns.QUERIES)
def test_a_row_has_exactly_these_columns(root, name):
    assert golden_columns.columns(root, name) == EXPECTED[name], (
        "if this is meant: python tests/support/golden_columns.py"
    )


def test_the_list_has_no_other_query():
    assert list(EXPECTED) == list(golden_columns.QUERIES)
