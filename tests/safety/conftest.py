"""What the tests of tampered stores share."""

import pytest
from received_stores import make_folder


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    make_folder(folder)
    return folder
