"""A store whose answers the tests of this folder look at."""

import shutil

import pytest
from every_metric import WORDS, prepare
from synthetic import synthetic_store


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A store of words in two models, of sentences and of occurrences, with datasets; tests take a
    copy.
    """
    root = prepare(
        tmp_path_factory.mktemp("prepared") / "store", n_blocks=2, top_form="normed"
    ).root
    synthetic_store(
        root, texts=WORDS[5:], dim=5, n_blocks=1, model="other", top_form=None, seed=1, index=False
    )
    return root


@pytest.fixture
def root(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "store")
