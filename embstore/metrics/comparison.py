"""Metrics that compare layers: those of one space with each other, or with those of another space."""

from embstore.metrics.cka import cka, describe_cka_route
from embstore.metrics.declaration.parameters import N_TIED, N_ZERO
from embstore.metrics.declaration.spec import Column, Metric, Parameter
from embstore.metrics.overlap import overlap
from embstore.metrics.rsa import describe_rsa_route, describe_sample, rsa

AGAINST = Parameter(
    "against",
    None,
    "Compare with the layers of this space, on the items that both have; a transform is fitted on these.",
    value_type=str,
    metavar="SPACE",
    is_input=True,
)

# The algorithms of :mod:`.numerics.gram`, for the estimators of metrics that use them.
_ROUTES = (
    "in float64, from sums of products of dimensions or, where n Σdᵢ < Σdᵢdⱼ (dimensions d, summed over the layers and "
    "over their pairs, a layer with itself counting half; n < Ld/2 for all pairs of L layers), from Gram matrices: the "
    "same number up to rounding, in bounded memory."
)

METRICS = (
    Metric(
        name="cka",
        help="How alike two layers arrange the items: linear centred kernel alignment.",
        function=cka,
        columns=(Column("cka", "number", "1: alike up to rotation and scale", minimum=-1, maximum=1),),
        parameters=(
            Parameter(
                "variant",
                "unbiased",
                "unbiased, or biased: near 1 by itself where items are few.",
                choices=("unbiased", "biased"),
            ),
            AGAINST,
        ),
        formula="HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)), K = XXᵀ, L = YYᵀ",
        citation="Kornblith et al. (2019), ICML; HSIC_1 of Song et al. (2012), JMLR, as in Nguyen et al. (2021), ICLR",
        references=("kornblith2019", "song2012", "nguyen2021"),
        needs="layers",
        estimator=f"Exact, {_ROUTES} unbiased takes HSIC_1, which needs 4 "
        "items and may make CKA negative; biased takes Kornblith's, which for n = 100 items with independent Gaussian "
        "vectors of 768 dimensions in both layers is about .885. Rotating a layer, or scaling it as a whole, changes "
        "nothing; scaling single dimensions does.",
        route=describe_cka_route,
    ),
    Metric(
        name="rsa",
        help="Whether two layers find the same pairs of items similar: the correlation of their cosines.",
        function=rsa,
        columns=(
            Column("rsa", "number", "correlation of the cosines of all pairs of items", minimum=-1, maximum=1),
            Column("n_pairs", "integer", "pairs of items", minimum=0, shown=False),
            N_ZERO,
        ),
        parameters=(
            Parameter("correlation", "pearson", "pearson, or spearman.", choices=("pearson", "spearman")),
            Parameter("pairs", 100_000, "Number of pairs of items that spearman samples (⦃seed⦄).", minimum=2),
            AGAINST,
        ),
        formula="corr over i < j of cos(xᵢ, xⱼ) and cos(yᵢ, yⱼ)",
        citation="Kriegeskorte et al. (2008), Frontiers in Systems Neuroscience",
        references=("kriegeskorte2008",),
        needs="layers",
        estimator=f"pearson is exact over all pairs of items, {_ROUTES} spearman (tied ranks "
        "averaged) is of pairs drawn at random without replacement, the same for all layers, or of all pairs if there "
        "are no more than that; n_pairs says how many. Cosines that differ by no more than their rounding errors share "
        "a rank. Items that are a zero vector in one of the two layers are left out and counted in n_zero. Cosine "
        "distances give the same number as cosines.",
        version=2,
        drawn=describe_sample,
        route=describe_rsa_route,
    ),
    Metric(
        name="overlap",
        help="Share of their k nearest neighbours that two layers have in common: mutual k-NN alignment.",
        function=overlap,
        columns=(
            Column("jaccard", "number", "mean of |A∩B| / |A∪B|", minimum=0, maximum=1, shown=False),
            Column("jaccard_expected", "number", "its expectation for random lists", minimum=0, maximum=1, shown=False),
            Column("overlap", "number", "mutual k-NN alignment: mean of |A∩B| / k", minimum=0, maximum=1),
            Column("overlap_expected", "number", "k/(n−1), by chance", minimum=0, maximum=1, shown=False),
            N_ZERO,
            N_TIED,
        ),
        parameters=(Parameter("k", 10, "Number of nearest neighbours.", minimum=1), AGAINST),
        formula="mean over items of |A∩B| / k, A and B the k nearest in either layer by cosine",
        citation="Mutual k-nearest-neighbour alignment: Huh et al. (2024), ICML; jaccard: index of the same lists",
        references=("huh2024",),
        needs="layers",
        estimator="Neighbours are exact, an item is not its own, and ties, up to rounding, go to the lower item id: "
        "where they reach beyond the k-th place, as of duplicates, the ids decide which of them count, and n_tied says "
        "for how many items. Items that are a zero vector in one of the two layers are left out of both, as items and "
        "as neighbours, and counted in n_zero. k ≥ n gives null. Chance is by the hypergeometric distribution.",
        version=3,
    ),
)
