"""The figures of the fault tests: each test tells its own, and pytest sums them up in its last
lines, with -n too.
"""

import os
from collections import Counter

FAULTS = os.environ.get("EMBSTORE_TEST_FAULTS", "")
"""``all`` to try every operation, with every error, which takes hours; k to try every k-th one;
``table`` to try as many as the tables of ``docs/benchmarks.md`` count; empty to try a third
of these.
"""
PROPERTY = "faults"
LOST, WRONG, UNSOUND = "items lost", "wrong answers", "unsound after the next build"
TRACEBACKS, HANGS = "tracebacks", "hangs"
COLUMNS = ("faults", LOST, WRONG, UNSOUND, TRACEBACKS, HANGS)


def share(n):
    """Return how many of the n faults of the tables are tried."""
    return n if FAULTS else -(-n // 3)


class Tally(Counter[str]):
    """What faults of one kind did: one count for each of ``COLUMNS``.

    Args:
        fault: its kind, as in ``kill -9``.
        of: what it befell.
    """

    def __init__(self, fault, of):
        super().__init__()
        self.fault, self.of = fault, of

    @property
    def harm(self):
        """What is above 0 and should not be."""
        return {column: self[column] for column in COLUMNS[1:] if self[column]}

    def as_property(self):
        """Return it as a property of a test's report, which xdist hands on: of plain types only."""
        return PROPERTY, {
            "fault": self.fault,
            "of": self.of,
            **{column: self[column] for column in COLUMNS},
        }


def figures(reports):
    """Return the figures of the tests; the report of the end of a test has all of them."""
    ends = [report for report in reports if getattr(report, "when", "") == "teardown"]
    return [value for report in ends for name, value in report.user_properties if name == PROPERTY]


def lines(found):
    """Yield the lines of a table: what was told, summed up by the fault and what it befell, and all
    of a fault.
    """
    if not found:
        return
    sums = {}
    for fault in sorted({row["fault"] for row in found}):
        of_fault = [row for row in found if row["fault"] == fault]
        for row in sorted(of_fault, key=lambda row: row["of"]):
            for key in ((fault, row["of"]), (fault, "all")):
                sums.setdefault(key, Counter()).update({column: row[column] for column in COLUMNS})
        sums[fault, "all"] = sums.pop((fault, "all"))  # comes last
    heads = [f"{fault}: {of}" for fault, of in sums]
    width = max(map(len, heads))
    yield "  ".join((" " * width, *COLUMNS))
    for head, counts in zip(heads, sums.values(), strict=True):
        yield "  ".join(
            (head.ljust(width), *(f"{counts[column]:>{len(column)},}" for column in COLUMNS))
        )
