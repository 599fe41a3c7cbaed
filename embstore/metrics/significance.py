"""Declare the parameters and columns with which metrics test differences between layers, and
similarities by chance.
"""

from dataclasses import replace

from embstore.metrics.declaration import Column, Metric, Parameter
from embstore.metrics.inputs import GROUP, GROUPED_BY, amount, count, limits, named, quantity, share
from embstore.metrics.parts import Parts

VERSUS_COLUMNS = (
    Column(
        "versus",
        "string",
        "the layer it is compared with, SPACE or SPACE:LAYER of another space, or best",
        shown=False,
    ),
    quantity(
        "difference",
        "value minus that of the layer it is compared with, on the units that all have",
        interval=("difference_low", "difference_high"),
        label="difference",
    ),
    *limits("the difference", names=("difference_low", "difference_high")),
    share(
        "p",
        "two-sided, of no difference (Student's t), as if the best layer had been named beforehand",
    ),
    share(
        "p_holm",
        "p, adjusted for the tests shown (Holm); against the best layer, for all pairs of layers",
    ),
    amount(
        "detectable",
        "difference from a layer named beforehand that is found with a probability of .8",
        shown=False,
    ),
    count("n_common", "units that all compared layers have"),
)
_WITH_PERMUTATIONS = ("permutations", ())
VERSUS = named(
    "versus",
    "Test each layer against a layer of its space, against the same layer of another space (its"
    " only one, or SPACE:LAYER), or against the best layer.",
    "LAYER|SPACE|SPACE:LAYER|best",
    takes_numbers=True,
    columns=VERSUS_COLUMNS,
)
"""Parameter of metrics whose rows have an estimate; see :mod:`embstore.query.differences`."""


INDEPENDENT = (
    "It takes items for independent draws: of those that come in groups (texts of one source, forms"
    " of one lemma) name the column with `group`, or it is too narrow."
)
"""What every interval from parts of the items takes for granted."""
GROUP_OF_PARTS = replace(
    GROUP,
    help=(
        "Column whose items stay together in the parts of `ci` and `versus`, such as lemma; by"
        " default the sentence of an occurrence."
    ),
    columns=(GROUPED_BY,),
)


LIMITS = ("low", "high")
"""Columns of the limits of a mean's interval."""
AVERAGE_COLUMNS = (
    amount("group_std", "standard deviation over the groups (divisor n − 1)"),
    *limits("the mean over the groups"),
    amount(
        "geometric_mean",
        "exp of the mean logarithm over the groups; null unless all values are above 0",
        shown=False,
    ),
    count("n_groups", "groups that have a value", shown=True),
    count("n_undefined", "groups without a value"),
)
_WITH_AVERAGE = ("average", ())
AVERAGE = (
    Parameter(
        "average",
        False,
        "Give one row a layer: the mean over the groups of `by`, such as texts, each counted once.",
        is_input=True,
        columns=AVERAGE_COLUMNS,
    ),
    replace(
        VERSUS,
        help=(
            "Test each mean against that of a layer of its space, of the same layer of another"
            " space, or of the layer with the highest, over the same groups."
        ),
        only_with=_WITH_AVERAGE,
    ),
)
"""Parameters of metrics of a set of vectors, whose groups can be averaged; see
:mod:`embstore.query.averages`.
"""


def parameters_of_parts(parts: Parts) -> tuple[Parameter, ...]:
    """Return the parameters of a metric of a set of vectors whose number has an interval."""
    numbers = " and ".join(limits_of(parts))
    ci = Parameter(
        "ci",
        False,
        f"Add the 95 % interval of {numbers}, from parts of the items. {INDEPENDENT}",
        is_input=True,
        columns=tuple(
            limit
            for column, names in limits_of(parts).items()
            for limit in limits(column, names=names)
        ),
    )
    average, of_means = AVERAGE
    versus = replace(
        of_means,
        help=(
            "Test each layer against a layer of its space, the same layer of another space, or the"
            f" layer with the highest {parts.column}."
        ),
        only_with=None,
    )
    return ci, versus, GROUP_OF_PARTS, average


def limits_of(parts: Parts) -> dict[str, tuple[str, str]]:
    """Return the columns with an interval, and those of its limits."""
    return {
        parts.column: LIMITS,
        **{column: (f"{column}_low", f"{column}_high") for column in parts.others},
    }


def versus_columns(metric: Metric) -> list[str]:
    """Return the names of the columns that the comparison with other rows adds."""
    [versus] = [parameter for parameter in metric.parameters if parameter.name == "versus"]
    return [column.name for column in versus.columns]


PERMUTATION_COLUMNS = (
    count("permutations", "number of times the items were shuffled"),
    Column(
        "over",
        "string",
        "pair: each pair has a threshold of its own; max: that of the highest pair",
        shown=False,
    ),
    count(
        "n_shuffled",
        "items that are shuffled for over = max: of cosines, those with a direction in all layers",
    ),
    quantity("shuffled", "mean over the permutations", shown=False),
    share("p", "share of the permutations with as high a similarity", shown=False),
    quantity("threshold", "similarity that 5 % of the permutations reach", shown=False),
    share("calibrated", "0: not above the threshold, 1: alike", shown=False),
)
PERMUTATIONS = (
    Parameter(
        "permutations",
        0,
        "Number of times that the items of the second layers are shuffled, for p and calibrated.",
        minimum=0,
        is_input=True,
        columns=PERMUTATION_COLUMNS,
    ),
    Parameter(
        "over",
        "pair",
        "Compare each pair of layers with its own shuffles, or all with the highest of each (max).",
        choices=("pair", "max"),
        is_input=True,
        only_with=_WITH_PERMUTATIONS,
    ),
    named(
        "block",
        "Column whose items are shuffled together; by default the sentence of an occurrence.",
        only_with=_WITH_PERMUTATIONS,
    ),
)
"""Parameters of metrics that are a similarity of two layers; see
:mod:`embstore.query.layer_pairs`.
"""
