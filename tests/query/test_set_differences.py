"""``ci`` and ``versus`` of metrics of a set of vectors: errors from groups and halves of the items,
against the definitions computed from the vectors by brute force.
"""

import numpy as np
import pytest
from kept_columns import write_columns
from scipy import stats
from scipy.spatial.distance import cdist
from synthetic import synthetic_store

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.metrics.numerics.statistics import draw_folds
from embstore.query import estimates, group_layers
from embstore.query.layer_data import StoredLayer

N, DIM, GROUPS = 120, 5, 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three layers of items with a mean and unequal variances, two of them correlated."""
    rng = np.random.default_rng(0)
    scale = np.array([3, 2, 1, 1, 0.5])
    first = rng.normal(size=(N, DIM))
    layers = [first, 0.8 * first + 0.6 * rng.normal(size=(N, DIM)), rng.normal(size=(N, DIM))]
    vectors = (np.stack(layers) * scale + 0.7).astype(np.float32)
    return synthetic_store(
        tmp_path_factory.mktemp("sets") / "store",
        n=N,
        dim=DIM,
        n_blocks=2,
        top_form=None,
        vectors=vectors,
        index=False,
    )


def in_order(made, layer):
    """Return the vectors of a layer by ascending id, float64."""
    return made.layer(layer)[np.argsort(made.ids)].astype(np.float64)


def mean_norm(x):
    return np.linalg.norm(x, axis=1).mean()


def cosines(x):
    u = x / np.linalg.norm(x, axis=1)[:, None]
    return (u @ u.T)[np.triu_indices(len(x), 1)]


def anisotropy(x):
    return cosines(x).mean()


def centred_anisotropy(x):
    return cosines(x - x.mean(axis=0)).mean()


def uniformity(x):
    return np.log(np.exp(-2 * (2 - 2 * cosines(x))).mean())


def participation(x):
    values = np.linalg.eigvalsh(np.cov(x.T))
    return values.sum() ** 2 / (values**2).sum()


def population(x):
    n, s = len(x), np.cov(x.T)
    t, t_2 = np.trace(s), np.trace(s @ s)
    q = (np.linalg.norm(x - x.mean(axis=0), axis=1) ** 4).sum() / (n - 1)
    return (2 * t_2 + (n**2 - 3 * n + 1) * t**2 - n * q) / ((n - 1) * (n - 2) * t_2 + t**2 - n * q)


def effective_rank(x):
    return np.exp(stats.entropy(np.linalg.svd(x, compute_uv=False)))


def neighbours(x, metric):
    distances = cdist(x, x, metric)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1), np.sort(distances, axis=1)


def two_nn(x, k):
    ratios = neighbours(x, "euclidean")[1]
    logs = np.sort(np.log(ratios[:, 1] / ratios[:, 0]))
    n = len(x)
    kept = logs[: n - int(np.ceil(n * 0.1 - 1e-9))]
    y = -np.log(1 - np.arange(1, len(kept) + 1) / n)
    return (kept @ y) / (kept @ kept)


def levina_bickel(x, k):
    near = neighbours(x, "euclidean")[1][:, :k]
    inverse = np.log(near[:, -1:] / near[:, :-1]).sum(axis=1) / (k - 1)
    return 1 / inverse.mean()


def robin_hood(x, k):
    counts = np.bincount(neighbours(x, "cosine")[0][:, :k].ravel(), minlength=len(x))
    return np.abs(counts - k).sum() / (2 * k * len(x))


SMOOTH = [
    ("norms", {}, "mean", mean_norm, False),
    ("anisotropy", {"std": True}, "anisotropy", anisotropy, False),
    ("uniformity", {}, "uniformity", uniformity, False),
    ("participation-ratio", {}, "participation_ratio", participation, True),
    ("isoscore", {}, "isoscore", lambda x: (participation(x) - 1) / (DIM - 1), True),
    ("effective-rank", {}, "effective_rank", effective_rank, True),
    ("anisotropy", {"transforms": "center"}, "anisotropy", centred_anisotropy, False),
    ("anisotropy", {"variant": "centred"}, "anisotropy", centred_anisotropy, False),
]
OF_NEIGHBOURS = [
    ("intrinsic-dimension", {}, "dimension", two_nn, None),
    ("intrinsic-dimension", {"estimator": "mle", "neighbours": 9}, "dimension", levina_bickel, 9),
    # In a half all others.
    *(
        (
            "intrinsic-dimension",
            {"estimator": "mle", "neighbours": k},
            "dimension",
            levina_bickel,
            k,
        )
        for k in (N - 1,)
    ),
    ("hubness", {"k": 8}, "robin_hood", robin_hood, 8),
    ("hubness", {"k": 2}, "robin_hood", robin_hood, 2),
]


def jackknife(x, number, seed=0):
    """Return the errors of a number without each group."""
    folds = draw_folds(np.arange(len(x)), GROUPS, [seed, 4])
    values = np.array([number(x[folds != fold]) for fold in range(GROUPS)])
    return (values - values.mean()) * np.sqrt(1 - 1 / GROUPS)


def halves(x, number, k, seed=0, n_splits=50):
    """Return the errors of a logarithm in random halves, with half as many neighbours."""
    rng = np.random.default_rng([seed, 3])
    k = k and min(k, max(3, k // 2))
    errors = []
    for _ in range(n_splits):
        is_first = rng.permutation(len(x)) < len(x) // 2
        errors.append(np.log(number(x[is_first], k) / number(x[~is_first], k)))
    return np.array(errors) / (2 * np.sqrt(n_splits))


def effective(weights):
    """Return how many items carry as much of an error as these do: Kish's, of squared weights."""
    return (weights**2).sum() ** 2 / (weights**4).sum()


def df_of_groups(x, number):
    """Return the degrees of freedom of an error from groups."""
    if number in (mean_norm, anisotropy, centred_anisotropy):
        return GROUPS - 1
    carrying = effective(((x - x.mean(axis=0)) ** 2).sum(axis=1))
    return min(GROUPS - 1, carrying * GROUPS / len(x))


def df_of_halves(x):
    """Return the degrees of freedom of an error from halves: a fifth of the items near others."""
    near = neighbours(x, "euclidean")[0][:, :20]
    return min(1 / (1 / 50 + 1 / (N - 1)), effective(np.bincount(near.ravel())) / 5)


def check(table, column, values, errors, dfs, is_log):
    """Check the intervals of all layers, and the differences from layer 1."""
    scale, back = (np.log, np.exp) if is_log else (np.asarray, np.asarray)
    for layer, row in enumerate(table.rows):
        half = stats.t.ppf(0.975, dfs[layer]) * np.sqrt((errors[layer] ** 2).sum())
        limits = back([scale(values[layer]) - half, scale(values[layer]) + half])
        assert row[column] == pytest.approx(values[layer])
        assert (row["low"], row["high"]) == pytest.approx(tuple(limits), rel=1e-6)
        if layer == 1:
            assert row["difference"] is row["p"] is None
            continue
        error = np.sqrt(((errors[layer] - errors[1]) ** 2).sum())
        df = min(dfs[layer], dfs[1])
        t = stats.t.ppf(0.975, df)
        on_scale = scale(values[layer]) - scale(values[1])
        assert row["p"] == pytest.approx(2 * stats.t.sf(abs(on_scale) / error, df), rel=1e-5)
        assert row["difference"] == pytest.approx(values[layer] - values[1])
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        assert (row["difference_low"] < 0 < row["difference_high"]) == (row["p"] > 0.05)
        if is_log:  # the limits are of two numbers with the geometric mean of both
            ratios = [on_scale - t * error, on_scale + t * error]
            middle = np.sqrt(values[layer] * values[1])
            expected = [middle * (np.exp(r / 2) - np.exp(-r / 2)) for r in ratios]
        else:
            expected = [on_scale - t * error, on_scale + t * error]
        assert [row["difference_low"], row["difference_high"]] == pytest.approx(expected, rel=1e-6)
        assert row["n_common"] == N


@pytest.mark.slow
@pytest.mark.parametrize("limit", [group_layers.MEMORY_BYTES, 0], ids=["in memory", "read anew"])
@pytest.mark.parametrize(("metric", "options", "column", "number", "is_log"), SMOOTH)
def test_smooth_numbers_have_errors_from_groups(
    made, monkeypatch, limit, metric, options, column, number, is_log
):
    monkeypatch.setattr(estimates, "MEMORY_BYTES", limit)
    table = made.store.query(metric, versus="1", **options)
    layers = [in_order(made, layer) for layer in range(3)]
    on_scale = (lambda x: np.log(number(x))) if is_log else number
    errors = [jackknife(x, on_scale) for x in layers]
    dfs = [df_of_groups(x, number) for x in layers]
    check(table, column, [number(x) for x in layers], errors, dfs, is_log)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [group_layers.MEMORY_BYTES, 0], ids=["lists", "searched anew"])
@pytest.mark.parametrize(("metric", "options", "column", "number", "k"), OF_NEIGHBOURS)
def test_numbers_of_neighbours_have_errors_from_halves(
    made, monkeypatch, limit, metric, options, column, number, k
):
    monkeypatch.setattr(estimates, "MEMORY_BYTES", limit)
    table = made.store.query(metric, versus="1", **options)
    layers = [in_order(made, layer) for layer in range(3)]
    errors = [halves(x, number, k) for x in layers]
    dfs = [df_of_halves(x) for x in layers]
    check(table, column, [number(x, k) for x in layers], errors, dfs, is_log=True)


def test_the_ratio_of_the_population_has_an_interval_of_its_own(made):
    table = made.store.query("participation-ratio", ci=True, seed=5)
    for layer, row in enumerate(table.rows):
        x = in_order(made, layer)
        errors = jackknife(x, lambda part: np.log(population(part)), seed=5)
        half = stats.t.ppf(0.975, df_of_groups(x, population)) * np.sqrt((errors**2).sum())
        assert row["population"] == pytest.approx(population(x))
        limits = population(x) * np.exp([-half, half])
        assert [row["population_low"], row["population_high"]] == pytest.approx(list(limits))
        assert row["low"] < row["participation_ratio"] < row["high"]
        assert row["seed"] == 5


def test_intervals_are_the_same_with_and_without_a_comparison(made):
    both = ("anisotropy", "low", "high")
    alone, compared, best, plain = (
        made.store.query("anisotropy", **more)
        for more in ({"ci": True}, {"versus": "1"}, {"versus": "best"}, {})
    )
    assert all(alone[name] == compared[name] == best[name] for name in both)
    assert not {"low", "high", "seed"} & {*plain.columns}
    assert made.store.query("anisotropy", ci=True).rows == alone.rows  # stored
    assert made.store.query("anisotropy", ci=True, seed=1)["low"] != alone["low"]
    assert "from random groups of the items" in alone.notes[0]
    [highest] = [row for row in best.rows if row["best"]]
    assert highest["anisotropy"] == max(best["anisotropy"])
    assert "p_holm over all 3 pairs" in best.notes[0]


def test_one_pass_over_the_vectors_gives_the_sums_of_all_groups(made, monkeypatch):
    passes = []
    read = StoredLayer.map_with_ids
    monkeypatch.setattr(
        StoredLayer, "map_with_ids", lambda *args: passes.append(args[0]) or read(*args)
    )
    made.store.query("anisotropy", versus="1", cache=False)
    made.store.query("norms", ci=True, top=0, cache=False)
    assert len(passes) == 6  # of three layers each


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"transforms": "center", "fit": "group"}], ids=["as stored", "centred"]
)
def test_groups_of_items_have_the_intervals_that_they_have_alone(make_store, options):
    made = make_store(n=60, dim=4, n_blocks=1, top_form=None, index=False)
    write_columns(made, {"pos": ["NNV"[number % 3] for number in range(60)]})
    alone = {name: value for name, value in options.items() if name != "fit"}
    for metric, column in (("anisotropy", "anisotropy"), ("intrinsic-dimension", "dimension")):
        rows = made.store.query(metric, by="pos", ci=True, layers="0", **options).rows
        for row in rows:
            where = f"pos = '{row['group']}'"
            [one] = made.store.query(metric, where=where, ci=True, layers="0", **alone).rows
            assert [row[name] for name in (column, "low", "high")] == pytest.approx(
                [one[name] for name in (column, "low", "high")]
            )
            assert row["low"] < row[column] < row["high"]


def test_a_transform_of_all_items_is_taken_as_given_in_their_groups(make_store):
    made = make_store(n=60, dim=4, n_blocks=0, top_form=None, index=False)
    write_columns(made, {"pos": ["NNV"[number % 3] for number in range(60)]})
    x = made.layer(0).astype(np.float64)
    x = (x - x.mean(axis=0))[np.arange(60) % 3 < 2]
    x = x[np.argsort(made.ids[np.arange(60) % 3 < 2])]
    row = made.store.query("norms", by="pos", ci=True, transforms="center").rows[0]
    half = stats.t.ppf(0.975, GROUPS - 1) * np.linalg.norm(jackknife(x, mean_norm))
    assert (row["low"], row["high"]) == pytest.approx((mean_norm(x) - half, mean_norm(x) + half))


def test_sentences_are_not_divided(tmp_path):
    """Occurrences of one sentence that are alike leave as much error as one of them."""
    rng = np.random.default_rng(1)
    texts = [f"a{number} b{number} c{number} d{number}" for number in range(60)]
    made = synthetic_store(
        tmp_path / "store", texts=texts, unit="occurrence", dim=4, n_blocks=1, top_form=None,
        index=False,
    )  # fmt: skip
    names = [str(item.context) for item in made.items]
    of_text = {name: rng.normal(size=(2, 4)) for name in names}
    vectors = np.stack([of_text[name] for name in names], axis=1).astype(np.float32)
    made = synthetic_store(
        tmp_path / "alike", texts=texts, unit="occurrence", dim=4, n_blocks=1, top_form=None,
        vectors=vectors, index=False,
    )  # fmt: skip
    [row, _] = made.store.query("norms", ci=True, top=0).rows
    x = np.stack([of_text[name][0] for name in dict.fromkeys(names)])
    expected = 2 * stats.t.ppf(0.975, 19) * stats.sem(np.linalg.norm(x, axis=1))
    assert row["high"] - row["low"] == pytest.approx(expected, rel=0.4)
    few = made.store.query("norms", ci=True, top=0, where="text LIKE '_1%'")
    assert "interval: fewer than 20 sentences" in few["reason"][0]


GROUPED = [
    ("norms", {"top": 0}, "mean", mean_norm),
    ("anisotropy", {}, "anisotropy", anisotropy),
    ("participation-ratio", {}, "participation_ratio", participation),
]


@pytest.fixture
def grouped(make_store):
    """90 items of 30 groups and 10 of none, 40 clusters in all."""
    made = make_store(n=100, dim=4, n_blocks=1, top_form=None, index=False)
    sources = [f"s{number % 30}" if number < 90 else None for number in range(100)]
    few = [number % 19 for number in range(100)]
    write_columns(made, {"source": sources, "few": few, "kind": ["a", "b"] * 50})
    return made


@pytest.mark.parametrize(("metric", "options", "column", "number"), GROUPED)
def test_groups_of_a_column_are_not_divided(grouped, metric, options, column, number):
    """Items without a value are each a group; groups count in the order of their first item."""
    table = grouped.store.query(metric, ci=True, group="source", **options)
    order = np.argsort(grouped.ids)
    clusters = np.where(np.arange(100) < 90, np.arange(100) % 30, np.arange(100))[order]
    _, first, members = np.unique(clusters, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))[members]
    folds = draw_folds(numbers, GROUPS, [0, 4])
    assert len(set(zip(clusters.tolist(), folds.tolist(), strict=True))) == 40
    for layer, row in enumerate(table.rows):
        x = in_order(grouped, layer)
        scale = np.log if column == "participation_ratio" else np.asarray
        values = np.array([scale(number(x[folds != fold])) for fold in range(GROUPS)])
        error = np.linalg.norm(values - values.mean()) * np.sqrt(1 - 1 / GROUPS)
        weights = np.ones(100)
        if column == "participation_ratio":
            weights = ((x - x.mean(axis=0)) ** 2).sum(axis=1)
        carrying = effective(np.bincount(numbers, weights))
        half = stats.t.ppf(0.975, min(GROUPS - 1, carrying * GROUPS / 40)) * error
        limits = scale(number(x)) + np.array([-half, half])
        if column == "participation_ratio":
            limits = np.exp(limits).clip(1, 4)  # dimensions
        assert [row["low"], row["high"]] == pytest.approx(limits.tolist())
        assert row["grouped_by"] == "source"
    assert "random groups of the items, each source in one of them (seed 0)" in table.notes[0]


def test_groups_are_part_of_what_is_stored_and_compared(grouped):
    ask = grouped.store.query
    plain, of_groups = ask("norms", ci=True, top=0), ask("norms", ci=True, top=0, group="source")
    assert plain["low"] != of_groups["low"]
    assert ask("norms", ci=True, top=0, group="source").rows == of_groups.rows  # stored
    compared = ask("norms", versus="1", top=0, group="source")
    assert compared["low"] == of_groups["low"]
    assert compared["p"] != ask("norms", versus="1", top=0)["p"]
    assert "grouped_by" not in plain.columns
    nouns = ask("knn", label="kind", layers=0, group="source")
    assert nouns["grouped_by"] == ["source"]
    assert nouns["low"] != ask("knn", label="kind", layers=0)["low"]
    assert "halves of the items, each source in one of them" in nouns.notes[0]


@pytest.mark.parametrize(
    ("metric", "options"), [("norms", {}), ("intrinsic-dimension", {}), ("knn", {"label": "kind"})]
)
def test_of_few_groups_there_is_no_interval_and_no_test(grouped, metric, options):
    table = grouped.store.query(metric, versus="1", group="few", **options)
    assert {*table["low"], *table["high"], *table["p"], *table["difference"]} == {None}
    assert all("interval: fewer than 20 groups" in reason for reason in table["reason"])


def test_hubness_has_no_interval_for_whole_groups_or_sentences(grouped, make_store):
    row = grouped.store.query("hubness", versus="1", group="source").rows[0]
    assert row["robin_hood"] > 0
    assert row["low"] is row["high"] is row["p"] is None
    assert row["reason"] == "interval: none of robin_hood is valid for whole groups"
    texts = [f"a{number} b{number} c{number}" for number in range(40)]
    made = make_store(texts=texts, unit="occurrence", dim=4, n_blocks=0, top_form=None, index=False)
    row = made.store.query("hubness", ci=True).rows[0]
    assert row["reason"] == "interval: none of robin_hood is valid for whole sentences"
    assert row["low"] is None
    assert made.store.query("intrinsic-dimension", ci=True).rows[0]["low"] > 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"group": "source"}, UsageError, "`group` is for the intervals of `ci` and `versus`"),
        ({"group": "source", "average": True, "by": "kind"}, UsageError, "and not for `average`"),
        ({"group": "sauce", "ci": True}, UnknownNameError, "'sauce'.*source"),
        ({"group": "sauce", "versus": "1"}, UnknownNameError, "'sauce'.*source"),
    ],
)
def test_groups_without_an_interval_and_unknown_ones_are_refused(grouped, options, error, message):
    with pytest.raises(error, match=message):
        grouped.store.query("norms", **options)


def test_copies_are_one_cluster_and_their_number_is_said(make_store):
    """30 % of the items have the vector of another."""
    rng = np.random.default_rng(2)
    source = np.concatenate([np.arange(84), rng.integers(0, 84, 36)])
    x = rng.normal(size=(2, 84, 4))[:, source].astype(np.float32)
    made = make_store(n=120, dim=4, n_blocks=1, top_form=None, index=False, vectors=x)
    write_columns(made, {"source": source.tolist()})
    times = np.bincount(source)
    why = f"interval: {times[times > 1].sum()} items have a vector that others have too"
    for metric in ("norms", "participation-ratio", "hubness"):
        alone = made.store.query(metric, versus="1", seed=3)
        assert all(why in reason for reason in alone["reason"])
        if metric == "hubness":
            continue
        named = made.store.query(metric, versus="1", seed=3, group="source")
        for column in ("low", "high", "p"):
            assert alone[column] == pytest.approx(named[column]), "as groups of a column"
            assert not any(why in str(reason) for reason in named["reason"])


def test_two_spaces_are_compared_over_the_items_of_both(tmp_path):
    texts = [f"text{number}" for number in range(150)]
    common = {"dim": 4, "n_blocks": 1, "top_form": None, "index": False}
    large = synthetic_store(tmp_path / "store", texts=texts, **common)
    small = synthetic_store(tmp_path / "store", texts=texts[:90], model="other", seed=3, **common)
    for metric in ("norms", "hubness"):
        table = large.store.query(metric, versus=small.space)
        assert {*table["n"]} == {90}
        column = "mean" if metric == "norms" else "robin_hood"
        rows = {(row["space"], row["layer"]): row for row in table.rows}
        for layer in (0, 1):
            row, other = rows[large.space, layer], rows[small.space, layer]
            assert row["difference"] == pytest.approx(row[column] - other[column])
            assert other["difference"] is None
    apart = synthetic_store(
        tmp_path / "store", texts=["elsewhere", "afar"], model="third", **common
    )
    with pytest.raises(QueryError, match=r"no item is in all .* \(150\), third.word.last \(2\)"):
        large.store.query("norms", spaces=large.space, versus=apart.space)


def test_spaces_that_are_compared_alike_have_one_sentence(tmp_path):
    options = {"dim": 4, "top_form": None, "index": False}
    for n, model, n_blocks in ((60, "a", 1), (90, "b", 2), (40, "c", 0), (50, "d", 0)):
        store = synthetic_store(
            tmp_path / "store", n=n, model=model, n_blocks=n_blocks, **options
        ).store
    how = "items in common, errors from parts of the items (seed 0)"
    failed = "fewer than two layers have a value that can be compared."
    for versus, named in (("0", "layer 0"), ("best", "the best layer")):
        [note, *_] = store.query("norms", versus=versus).notes
        assert note.count("; versus") == 2
        assert f"; versus {named}, over 60–90 {how};" in note
        assert f"; versus (c.word.last, d.word.last): {failed[:-1]}" in note
    [note, *_] = store.query("norms", spaces="b.word.last", versus="a.word.last").notes
    assert f"; versus a.word.last, over 60 {how}; versus (b.word.last): not every layer" in note
    [note, *_] = store.query("norms", spaces="b.word.last", versus="2").notes
    assert note.endswith(f"; versus layer 2, over 90 {how}.")


def test_layers_that_do_not_differ(tmp_path):
    """Equal vectors in two layers, and vectors of the same length in each."""
    x = np.random.default_rng(0).normal(size=(1, 60, 4)).astype(np.float32)
    made = synthetic_store(
        tmp_path / "store", n=60, dim=4, n_blocks=1, top_form=None, index=False,
        vectors=np.concatenate([x, x]),
    )  # fmt: skip
    for metric in ("anisotropy", "participation-ratio", "hubness"):
        row = made.store.query(metric, versus="1").rows[0]
        assert (row["difference"], row["p"]) == (0, 1)
    row = made.store.query("norms", versus="1", transforms="normalize").rows[0]
    assert (row["difference"], row["p"]) == (pytest.approx(0, abs=1e-12), 1)


@pytest.mark.parametrize(
    ("metric", "options", "error", "message"),
    [
        (
            "intrinsic-dimension",
            {"estimator": "gride", "versus": "1"},
            UsageError,
            "halves .* scal",
        ),
        ("intrinsic-dimension", {"estimator": "gride", "ci": True}, UsageError, "twonn or mle"),
        ("norms", {"versus": "1", "by": "text"}, UsageError, "leave out `by`, or add `average`"),
        ("norms", {"ci": True, "by": "text", "average": True}, UsageError, "leave out `ci`"),
        (
            "rogue-dims",
            {"versus": "1"},
            UsageError,
            "versus='1' has an effect with `average` alone",
        ),
        ("cka", {"versus": "1"}, UsageError, "`against`"),
    ],
)
def test_what_is_refused(made, metric, options, error, message):
    with pytest.raises(error, match=message):
        made.store.query(metric, **options)


@pytest.mark.parametrize(
    ("metric", "n", "reason"),
    [
        ("norms", 19, "interval: fewer than 20 items"),
        ("hubness", 9, "interval: fewer than 10 items"),
        ("hubness", 10, "interval: of a part of the items"),
        ("isoscore", 3, "interval: fewer than 20 items"),
    ],
)
def test_too_few_items_have_a_number_without_an_interval(made, metric, n, reason):
    options = {"k": 9} if metric == "hubness" else {}
    table = made.store.query(metric, sample=n, versus="1", **options)
    for row in table.rows:
        assert row["low"] is row["high"] is row["difference"] is row["p"] is None
        assert reason in row["reason"] or "no logarithm" in row["reason"]
    assert "versus: fewer than two layers have a value" in table.notes[0]


SPREAD = np.random.default_rng(0).normal(size=(60, 4))
ONLY_ITEM = (np.arange(60) == 5)[:, None] * np.eye(4)[2]
LONG_TAILS = "interval: long tails: as few as {} of 60 items carry the variance, and it needs 15"


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (SPREAD[:3], "interval: fewer than 20 items"),
        (SPREAD[np.r_[:6, [5] * 54]], "interval: fewer than 20 different vectors"),
        (SPREAD[:, :1], "interval: {} is the same in all parts of the items"),
        (np.outer(SPREAD[:, 0], [1, 2]), "interval: {} is the same in all parts of the items"),
        (ONLY_ITEM, "interval: fewer than 20 different vectors"),
        (SPREAD * [1, 1, 0, 1] + 9 * ONLY_ITEM, LONG_TAILS.format("3.0")),
        (SPREAD / np.linspace(0.01, 1, 60)[:, None] ** 2, LONG_TAILS.format("1.3")),
    ],
    ids=["three", "copies", "one dimension", "line", "one item", "one column", "long tails"],
)
@pytest.mark.parametrize("column", ["participation_ratio", "effective_rank"])
def test_numbers_of_variances_have_no_interval_where_few_items_carry_them(
    make_store, x, reason, column
):
    made = make_store(
        n=len(x), dim=x.shape[1], n_blocks=1, top_form=None, index=False,
        vectors=np.stack([x, 2 * x]).astype(np.float32),
    )  # fmt: skip
    for row in made.store.query(column.replace("_", "-"), versus="1").rows:
        assert row[column] >= 1
        assert row["low"] is row["high"] is row["p"] is row["difference"] is None
        assert row["reason"].endswith(reason.format(column))


@pytest.mark.parametrize(
    ("metric", "options", "largest"),
    [
        ("participation-ratio", {}, 24),
        ("effective-rank", {}, 25),
        ("effective-rank", {"variant": "centred"}, 24),
    ],
)
def test_limits_are_possible_numbers_of_dimensions(make_store, metric, options, largest):
    x = np.random.default_rng(1).normal(size=(2, 25, 40)).astype(np.float32)
    x[1, :, 1:] *= 0.05
    made = make_store(n=25, dim=40, n_blocks=1, top_form=None, index=False, vectors=x)
    table = made.store.query(metric, ci=True, **options)
    for row in table.rows:
        assert 1 <= row["low"] <= row["high"] <= largest
    for limit in table["population_high"] if metric == "participation-ratio" else ():
        assert limit is None or limit <= 40
