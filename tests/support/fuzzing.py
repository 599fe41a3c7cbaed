"""How long the fuzz tests run: 100,000 cases that are the same each time, or as many times more at
random.
"""

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("EMBSTORE_TEST_FUZZ", "0"))
"""How many times the cases are tried, at random; 0 for once, the same ones each time."""


def tries(n):
    """Run a test for n examples, each of which is many cases."""
    return settings(
        max_examples=n * max(1, FACTOR),
        derandomize=not FACTOR,
        database=None,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
        ],
    )


def refusal(call, kinds):
    """What an error of these kinds says that a call raises; None if it raises none."""
    try:
        call()
    except kinds as error:
        return str(error)
    return None
