"""The simulations of errors count what they say, and a seed gives the same again."""

import json
import sys

import error_rates
import pytest

SMALL = [
    "--chosen",
    "--only",
    "sets",
    "--repeats",
    "2",
    "--items",
    "60",
    "--columns",
    "mean",
    "robin_hood",
]


def printed(capsys, *options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["error_rates.py", *SMALL, *options])
        error_rates.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.slow
def test_a_seed_gives_the_same_rates_again(capsys):
    found = printed(capsys, "--kinds", "normal")
    assert [(cell["column"], cell["n"], cell["repeats"]) for cell in found] == [
        ("mean", 60, 2),
        ("robin_hood", 60, 2),
    ]
    assert all(cell["intervals"] == 1 and cell["width"] > 0 for cell in found)
    assert printed(capsys, "--kinds", "normal") == found
    assert printed(capsys, "--kinds", "normal", "--seed", "1") != found


def test_the_rates_of_a_cell_are_shares_of_repeats_and_of_intervals():
    def row(value, low, high, p):
        return {"x": value, "low": low, "high": high, "p": p}

    two = [
        [row(1.0, 0.0, 3.0, 0.01), row(2.0, 1.0, 3.0, None)],
        [row(3.0, 2.5, 4.0, 0.5), row(2.0, None, None, None)],
    ]
    found = error_rates.cell(two, [], "x")
    assert found["value"] == 2
    assert found["named"] == 0.5
    assert found["intervals"] == 0.75
    assert found["coverage"] == pytest.approx(2 / 3)
    assert found["width"] == 2
