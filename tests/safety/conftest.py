"""What the tests of tampered stores share."""

from pathlib import Path

import pytest
from received_stores import make_folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_folder(folder)
    return folder
