"""Parameters and columns that several metrics share."""

from embstore.metrics.declaration.spec import Column, Parameter

N_ZERO = Column("n_zero", "integer", "zero vectors, which have no direction", minimum=0, shown=False)
N_TIED = Column(
    "n_tied", "integer", "items with neighbours as near as the k-th: the lowest ids are taken", minimum=0, shown=False
)

DATASET = Parameter(
    "dataset",
    (),
    "A dataset of pairs that is in the store; none given: all, of the space's unit.",
    metavar="NAME",
    is_input=True,
)
MISSING_PAIRS = Parameter(
    "missing",
    "skip",
    "Pairs without a vector: skip (left out, counted and named) or error.",
    choices=("skip", "error"),
)


def missing_words(words: str) -> Parameter:
    """Return the parameter ``missing`` of a metric of lists of words.

    Args:
        words: Noun phrase for the words that may be missing, with a capital.
    """
    help = f"{words} without a vector: error, or skip (left out and named)."
    return Parameter("missing", "error", help, choices=("error", "skip"))


def word_file(name: str, help: str) -> Parameter:
    """Return a parameter for a file with a word a line, or for words with commas between them."""
    return Parameter(name, None, help, value_type=str, metavar="FILE|WORDS", is_input=True)
