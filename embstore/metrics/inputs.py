"""Parameters and columns that metrics share, and those that follow from what a metric needs."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from embstore.metrics.data import Words
from embstore.metrics.declaration import Column, Need, Parameter, Result


class Option:
    """What the signature of a metric's function cannot say of a parameter.

    ``k: Annotated[int, Option("Number of neighbours.", minimum=1)] = 10``

    Args:
        help: Help text, one line.
        settings: Other attributes of :class:`Parameter`, such as ``minimum`` and ``maximum``.
    """

    def __init__(self, help: str, **settings: Any) -> None:
        self.settings = {"help": help, **settings}


def count(name: str, help: str, *, shown: bool = False) -> Column:
    """Return a column of whole numbers from 0, which by default printed tables leave out."""
    return Column(name, "integer", help, minimum=0, shown=shown)


def quantity(name: str, help: str, **more: Any) -> Column:
    """Return a column of numbers."""
    return Column(name, "number", help, **more)


def amount(name: str, help: str, **more: Any) -> Column:
    """Return a column of numbers from 0."""
    return Column(name, "number", help, minimum=0, **more)


def share(name: str, help: str, **more: Any) -> Column:
    """Return a column of numbers in [0, 1], such as proportions and p-values."""
    return Column(name, "number", help, minimum=0, maximum=1, **more)


def coefficient(name: str, help: str, **more: Any) -> Column:
    """Return a column of numbers in [-1, 1], such as cosines and correlations."""
    return Column(name, "number", help, minimum=-1, maximum=1, **more)


def limits(
    of: str,
    declare: Callable[..., Column] = quantity,
    names: tuple[str, str] = ("low", "high"),
    **more: Any,
) -> list[Column]:
    """Return the columns of the limits of a 95 % interval."""
    return [
        declare(name, f"{which} limit of the 95 % interval of {of}", **more)
        for name, which in zip(names, ("lower", "upper"), strict=True)
    ]


def coverage(n: int, total: int) -> Result:
    """Return the values of the columns that say of how many units, out of all, a number is."""
    return {"n": n, "total": total, "coverage": n / total if total else None}


def key(name: str, help: str) -> Column:
    """Return a column of strings that distinguishes the rows of one layer."""
    return Column(name, "string", help, is_key=True)


N_ZERO = count("n_zero", "zero vectors, which have no direction")
N_TIED = count("n_tied", "items with neighbours as near as the k-th: the lowest ids are taken")

NearestNeighbours = Annotated[int, Option("Number of nearest neighbours.", minimum=1)]
MissingPairs = Annotated[
    Literal["skip", "error"],
    Option("Pairs without a vector: skip (left out and counted; some are named) or error."),
]
MissingWords = Annotated[
    Literal["error", "skip"],
    Option("Words without a vector: error, or skip (left out; some are named)."),
]
AttributesA = Annotated[
    Words,
    Option(
        "Attribute words A, one a line or with commas; by default the 25 pleasant words of ValNorm."
    ),
]
AttributesB = Annotated[
    Words,
    Option("Attribute words B, one a line or with commas; by default its 25 unpleasant words."),
]


def named(name: str, help: str, metavar: str = "NAME", **more: Any) -> Parameter:
    """Return a parameter without a default that names what the query reads, such as a column."""
    return Parameter(name, None, help, value_type=str, metavar=metavar, is_input=True, **more)


def kept_whole(column: str | None) -> str:
    """Return what notes say of parts that divide no group of items; empty for no groups."""
    return f", each {column} in one of them" if column else ""


GROUPED_BY = Column(
    "grouped_by", "string", "column that the groups are the values of, or sentence", shown=False
)
GROUP = named(
    "group",
    "Column whose items stay on one side of each fold, such as lemma; by default the sentence of an"
    " occurrence.",
)


NEEDED_COLUMNS: dict[Need, tuple[Column, ...]] = {
    "pairs": (key("dataset", "the dataset of pairs"),),
    "analogies": (key("dataset", "the dataset of analogies"),),
    "lexicon": (key("lexicon", "the lexicon"),),
    "column": (key("column", "the column"),),
    "labels": (key("label", "the column with the classes"),),
}
"""The first columns of a metric, which the query fills, by what it needs."""
NEEDED_PARAMETERS: dict[Need, tuple[Parameter, ...]] = {
    "pairs": (
        Parameter(
            "dataset",
            (),
            "A dataset of pairs: one in the store, or a file (pairs.csv, or pairs.csv:a,b,score);"
            " none given: all in the store, of the space's unit.",
            metavar="NAME",
            is_input=True,
        ),
    ),
    "analogies": (
        Parameter(
            "dataset",
            (),
            "A dataset of analogies: one in the store, a file or a folder; none given: all in the"
            " store.",
            metavar="NAME",
            is_input=True,
        ),
        Parameter(
            "case",
            "ignore",
            "Words that differ only in case: ignore (they are one word) or exact.",
            choices=("ignore", "exact"),
            is_input=True,
            in_rows=True,
        ),
    ),
    "lexicon": (
        Parameter(
            "lexicon",
            "bellezza",
            "A lexicon: one in the store, or a file (valence.csv, or valence.csv:word,value).",
            metavar="NAME",
            is_input=True,
        ),
        named(
            "value",
            "Its column with the valence; by default valence, else the only column of numbers.",
            "COLUMN",
            in_rows=True,
        ),
    ),
    "column": (named("column", "Column of numbers, stored by build `keep` or built-in."),),
    "labels": (
        named(
            "label",
            "Column of the items whose values are classes, stored by build `keep` or built-in.",
        ),
        named(
            "label_bins",
            "Cut a label of numbers into this many intervals, or at these edges, as in 0,10,100.",
            "N|EDGES",
            takes_numbers=True,
            in_rows=True,
        ),
    ),
}
"""The first parameters of a metric, which the query reads, by what it needs."""
AGAINST = named(
    "against",
    "Compare with those layers of this space (its only one, or SPACE:LAYER), on the items that both"
    " have; a transform is fitted on these.",
    "SPACE[:LAYER]",
)
