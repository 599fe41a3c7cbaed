"""What the tests at points of commands share."""

import pytest


@pytest.fixture(scope="session")
def point_stores(tmp_path_factory):
    """A folder with a store of each kind that the commands of :mod:`fault_points` begin with."""
    from fault_points import make_stores

    folder = tmp_path_factory.mktemp("points")
    make_stores(folder)
    return folder
