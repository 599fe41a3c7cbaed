"""The columns of a row of every metric; ``python tests/support/golden_columns.py`` renews the list.

Read its difference (``git diff tests/golden/columns.json``): each change of it is one of what users get.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from every_metric import INPUTS, LABELS, METRICS, ask, prepare

FILE = Path(__file__).parents[1] / "golden" / "columns.json"
QUERIES = {
    **{name: (name, INPUTS.get(name, {})) for name in METRICS},
    "norms where sample transforms": (
        "norms",
        {"where": "length(text) > 5", "sample": 10, "transforms": "center"},
    ),
    "norms words common": ("norms", {"unit": "word", "words": ["word1"], "common": True}),
    "norms by bins": ("norms", {"unit": "word", "by": "freq", "bins": 2, "transforms": "center"}),
    "norms by average": ("norms", {"unit": "occurrence", "by": "text", "average": True}),
    "anisotropy ci": ("anisotropy", {"ci": True, "unit": "word"}),
    "anisotropy versus": ("anisotropy", {"versus": "0", "unit": "word"}),
    "cka permutations": ("cka", {"spaces": "toy.word.last", "permutations": 9}),
    "probe versus": ("probe", {**LABELS, "label_bins": "2", "folds": 2, "versus": "0"}),
}
"""Name in the list → metric and options."""


def columns(root, name):
    """Return the columns of each row of a query, which are the same in all."""
    metric, options = QUERIES[name]
    rows = ask(root, metric, **options).rows
    [found] = {tuple(row) for row in rows}
    return list(found)


def main():
    with TemporaryDirectory() as folder:
        root = prepare(Path(folder) / "store").root
        lines = [f"  {json.dumps(name)}: {json.dumps(columns(root, name))}" for name in QUERIES]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
