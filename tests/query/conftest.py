"""A store whose answers the tests of this folder look at."""

import shutil

import pytest
from answer_queries import prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A store of words in two models, of sentences and of occurrences, with datasets; tests take a copy."""
    return prepare(tmp_path_factory.mktemp("prepared") / "store")


@pytest.fixture
def root(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "store")
