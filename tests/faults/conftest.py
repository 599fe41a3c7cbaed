"""What the fault tests share."""

from collections.abc import Callable, Iterator

import pytest
from fault_figures import Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Tally]]:
    """Begin a tally of a fault, and of what it befalls; its figures come in the last lines of pytest."""
    tallies: list[Tally] = []

    def begin(fault: str, of: str) -> Tally:
        tallies.append(Tally(fault, of))
        return tallies[-1]

    yield begin
    request.node.user_properties += [one.as_property() for one in tallies]
