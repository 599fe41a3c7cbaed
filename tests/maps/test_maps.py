"""Maps of layers: their positions, the neighbours that they keep, and which stored maps are
used.
"""

import errno
import subprocess
import sys

import numpy as np
import pytest
from file_operations import CREATE, MAKE_FOLDER, REPLACE, watched
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import QueryError, UsageError
from embstore.base.progress import observing
from embstore.index import exact_knn
from embstore.metrics.numerics.neighbours import nearest_in_plane
from embstore.query import map_methods as kept_neighbours

pytestmark = pytest.mark.slow

METHODS = ("pca", "tsne")


def clusters(n=60, layers=3, dim=8, seed=0):
    """Vectors in five clusters, which move a little from layer to layer: float32 (layers, n,
    dim).
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, dim))[np.arange(n) % 5]
    base = centres + 0.3 * rng.normal(size=(n, dim))
    return np.stack([base + 0.1 * at * rng.normal(size=(n, dim)) for at in range(layers)]).astype(
        np.float32
    )


@pytest.fixture
def made(make_store):
    return make_store(n=60, n_blocks=2, top_form=None, vectors=clusters(), index=False)


def in_id_order(made, layer):
    order = np.argsort(made.ids)
    return made.ids[order], made.layer(layer)[order].astype(np.float64)


def nearest(scores, k=10):
    """Positions of the k largest scores of each row, ties by position, without the row itself."""
    scores = scores.copy()
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def brute_kept(vectors, positions, k=10):
    """Share of the k nearest by cosine that are among the k nearest positions, per item."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wide = positions.astype(np.float64)
    apart = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(axis=2))
    pairs = zip(nearest(units @ units.T, k), nearest(-apart, k), strict=True)
    return np.array([len({*true} & {*found}) / k for true, found in pairs])


@pytest.mark.parametrize("method", METHODS)
def test_kept_is_the_share_of_brute_force(made, method):
    table = made.store.map(method=method)
    assert [(row["layer"], row["n"], row["n_kept"], row["did"]) for row in table] == [
        (layer, 60, 60, "made") for layer in (0, 1, 2)
    ]
    for row in table:
        ids, vectors = in_id_order(made, row["layer"])
        found, positions = made.store.map_points(made.space, row["layer"], method=method)
        assert (positions.dtype, positions.shape) == (np.float32, (60, 2))
        np.testing.assert_array_equal(found, ids)
        assert row["kept"] == pytest.approx(brute_kept(vectors, positions).mean(), abs=1e-12)
        assert (made.root / row["file"]).is_file()


def test_tsne_keeps_more_than_chance_and_than_pca(make_store):
    made = make_store(
        n=200, dim=20, n_blocks=1, top_form=None, vectors=clusters(200, 2, 20), index=False
    )
    pca, found = (np.array(made.store.map(method=method)["kept"]) for method in METHODS)
    assert (found > pca).all()
    assert (found > 5 * 10 / 199).all(), "random lists share 10 of 199"


def test_of_many_items_the_share_is_measured_over_some(made, monkeypatch):
    monkeypatch.setattr(kept_neighbours, "SAMPLE", 25)
    table = made.store.map(seed=3)
    assert "kept is measured over 25 items, a random sample (seed 3)" in " ".join(table.notes)
    for row in table:
        ids, vectors = in_id_order(made, row["layer"])
        _, positions = made.store.map_points(made.space, row["layer"], seed=3)
        drawn = np.isin(ids, np.random.default_rng(3).choice(ids, 25, replace=False, shuffle=False))
        assert row["n_kept"] == 25
        assert row["kept"] == pytest.approx(brute_kept(vectors, positions)[drawn].mean(), abs=1e-12)


def test_pca_has_axes_that_all_layers_share(made):
    """Against the definition, with dense matrices."""
    centred = []
    for layer in range(3):
        vectors = in_id_order(made, layer)[1]
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        units -= units.mean(axis=0)
        centred.append(units / np.sqrt((units**2).sum(axis=1).mean()))
    axes = np.linalg.svd(np.concatenate(centred))[2][:2].T
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), range(2)])
    for layer in range(3):
        _, positions = made.store.map_points(made.space, layer)
        np.testing.assert_allclose(positions, centred[layer] @ axes, atol=1e-5)
    _, alone = made.store.map_points(made.space, 1, layers=1)
    _, with_0 = made.store.map_points(made.space, 1, layers="0-1")
    assert not np.allclose(alone, with_0, atol=1e-3), (
        "the axes are those of the layers that are mapped together"
    )


def test_a_layer_of_tsne_starts_from_the_one_below(make_store):
    """Where neighbours are the same nothing moves much, though the components of the layer itself
    lie elsewhere.
    """
    vectors = clusters(layers=1)
    mirrored = make_store(
        n=60, n_blocks=1, top_form=None, vectors=np.concatenate([-vectors, vectors])
    )
    below, above = (
        mirrored.store.map_points(mirrored.space, layer, method="tsne")[1] for layer in (0, 1)
    )
    alone = mirrored.store.map_points(mirrored.space, 1, method="tsne", layers=1)[1]
    spread = below.std()
    assert np.abs(above - below).mean() < 0.2 * spread
    assert np.abs(alone - below).mean() > spread


def files_of(root):
    return {
        path.name: path.read_bytes()
        for path in sorted((root / "derived" / "maps").rglob("*.parquet"))
    }


@pytest.mark.process
def test_the_same_store_gives_the_same_bytes_in_every_process(make_store):
    arguments = {"n": 60, "n_blocks": 2, "top_form": None, "vectors": clusters()}
    first, second = (make_store(name, **arguments) for name in ("one", "two"))
    command = [
        sys.executable,
        "-m",
        "embstore",
        "map",
        "--store",
        str(first.root),
        "--quiet",
        "--method",
        "tsne",
        "--sample",
        "50",
        "--seed",
        "1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    second.store.map(method="tsne", sample=50, seed=1)
    assert len(files_of(first.root)) == 3
    assert files_of(first.root) == files_of(second.root)


def test_the_number_of_threads_does_not_change_a_map(made, monkeypatch):
    made.store.map(method="tsne", layers="0-1")
    assert made.store.map(method="tsne", layers=1)["did"] == ["made"], (
        "by itself it starts from its own components"
    )
    found = files_of(made.root)
    monkeypatch.setattr(kept_neighbours, "_N_THREADS", 3)
    made.store.map(method="tsne", layers="0-1", force=True)
    made.store.map(method="tsne", layers=1, force=True)
    assert files_of(made.root) == found


def test_an_interrupted_call_goes_on_after_the_last_layer(made, tmp_path):
    def interrupt(operation, path, _):
        if operation == REPLACE and path.name.startswith("layer=02-"):
            raise KeyboardInterrupt

    with watched(interrupt, made.root), pytest.raises(KeyboardInterrupt):
        made.store.map(method="tsne")
    assert [name[:8] for name in files_of(made.root)] == ["layer=00", "layer=01"]
    assert not list((made.root / "derived" / "maps").rglob(".*.tmp"))
    assert made.store.map(method="tsne")["did"] == ["found", "found", "made"]
    whole = synthetic_store(
        tmp_path / "whole", n=60, n_blocks=2, top_form=None, vectors=clusters(), index=False
    )
    whole.store.map(method="tsne")
    assert files_of(made.root) == files_of(whole.root)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_selected_items_are_on_a_map(made, method):
    where = "text LIKE '%1%' OR text LIKE '%2%'"
    table = made.store.map(method=method, where=where, sample=15, seed=4, layers=1)
    [row] = table
    assert {name: row[name] for name in ("n", "where", "sample", "seed")} == {
        "n": 15,
        "where": where,
        "sample": 15,
        "seed": 4,
    }
    ids, positions = made.store.map_points(
        made.space, 1, method=method, layers=1, where=where, sample=15, seed=4
    )
    texts = dict(zip(made.ids.tolist(), made.texts, strict=True))
    assert all("1" in texts[item] or "2" in texts[item] for item in ids.tolist())
    rows = np.isin(in_id_order(made, 1)[0], ids)
    assert row["kept"] == pytest.approx(
        brute_kept(in_id_order(made, 1)[1][rows], positions).mean(), abs=1e-12
    )
    other = made.store.map(method=method, where=where, sample=15, seed=5, layers=1)
    assert other["file"] != table["file"]
    assert "the sample of 500 is all 60 items." in " ".join(made.store.map(sample=500).notes)


def test_what_selects_other_items_each_time_is_refused(made):
    with pytest.raises(UsageError, match=r"may change \(random\).*`sample`"):
        made.store.map(where="random() < 0.5")


def test_without_openTSNE_the_error_says_what_to_install(made, monkeypatch):  # noqa: N802
    made.store.map(method="tsne", layers="0-1")
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(UsageError, match=r"t-SNE needs openTSNE.*pip install.*\[map\].*pca"):
        made.store.map(method="tsne")
    assert made.store.map(method="tsne", layers="0-1")["did"] == ["found", "found"], (
        "stored maps need nothing"
    )
    assert len(made.store.map()) == 3


def test_points_are_of_one_layer(made):
    with pytest.raises(UsageError, match="is not one of these"):
        made.store.map_points(made.space, 2, layers="0-1")
    with pytest.raises(UsageError, match="is not one of these"):
        made.store.map_points(made.space, "all")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3, 11, 12])
def test_few_items(make_store, method, n):
    made = make_store(n=n, n_blocks=1, top_form=None, vectors=clusters(n, 2))
    for row in made.store.map(method=method):
        _, positions = made.store.map_points(made.space, row["layer"], method=method)
        assert positions.shape == (n, 2)
        assert np.isfinite(positions).all()
        assert (row["kept"] is None) == (n <= 11)
        assert (row["reason"] is None) == (n > 11)
    assert made.store.verify().ok


def test_no_items(made):
    reason = (
        f"no item of {made.space} is selected. Leave `where` and `words` out, or select others."
    )
    with pytest.raises(QueryError, match=reason):
        made.store.map(where="text = 'nothing'")
    with pytest.raises(QueryError, match=reason):
        made.store.map_points(made.space, 0, where="text = 'nothing'")
    assert not made.store.maps().rows
    assert not list(made.root.glob("maps/*/*"))


def test_a_space_without_selected_items_gets_no_map(tmp_path):
    store = Store(tmp_path / "two")
    for name, texts in (("one", ["a", "b", "c"]), ("other", ["b", "c", "d"])):
        store.add_vectors(name, texts, np.eye(3, dtype=np.float32))
    table = store.map(where="text = 'a'")
    assert [row["space"] for row in table] == ["one"]
    assert not any("left out" in note for note in table.notes)
    named = store.map(where="text = 'a'", spaces=["one", "other"])
    assert "other is left out: none of its items is selected." in named.notes
    items = store.map_items(where="text = 'a'")
    assert ({*items["space"]}, items.notes) == ({"one"}, ())
    named = store.map_items(where="text = 'a'", spaces=["one", "other"])
    assert named.rows == items.rows
    assert named.notes == ("other is left out: none of its items is selected.",)
    with pytest.raises(QueryError, match=r"no item of one or other is selected\."):
        store.map_items(where="text = 'e'")


@pytest.mark.parametrize("method", METHODS)
def test_equal_items(make_store, method, monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(2, 1, 8)).repeat(40, axis=1)
    vectors *= np.random.default_rng(1).uniform(0.1, 10, size=(1, 40, 1))  # of different lengths
    made = make_store(n=40, n_blocks=1, top_form=None, vectors=vectors)
    table = made.store.map(method=method)
    assert [(row["n"], row["kept"], row["reason"]) for row in table] == [
        (40, None, "all items are equally near each other")
    ] * 2
    _, positions = made.store.map_points(made.space, 0, method=method)
    assert np.isfinite(positions).all()
    if method == "pca":
        assert not positions.any()
        monkeypatch.setattr(kept_neighbours, "SAMPLE", 20)
        assert made.store.map(force=True)["reason"] == ["all items are equally near each other"] * 2


@pytest.mark.parametrize("method", METHODS)
def test_zero_vectors_have_no_place(make_store, method):
    """Items 0 to 2 are zero in layer 0 alone, and start in layer 1 amid their neighbours; item 3 is
    zero in both.
    """
    vectors = clusters(40, 2)
    vectors[0, :4] = 0
    vectors[1, 3] = 0
    made = make_store(n=40, n_blocks=1, top_form=None, vectors=vectors)
    table = made.store.map(method=method)
    assert [(row["n"], row["n_zero"]) for row in table] == [(36, 4), (39, 1)]
    assert "layer 0: n_zero = 4" in " ".join(table.notes)
    for row, zero in zip(table, (4, 1), strict=True):
        ids, found = in_id_order(made, row["layer"])
        placed, positions = made.store.map_points(made.space, row["layer"], method=method)
        keep = found.any(axis=1)
        assert (~keep).sum() == zero
        np.testing.assert_array_equal(placed, ids[keep])
        assert row["kept"] == pytest.approx(brute_kept(found[keep], positions).mean(), abs=1e-12)


def test_points_that_coincide_are_neighbours_by_position():
    points = np.array([[0, 0], [1, 0], [0, 0], [3, 4], [0, 0], [1, 0]], float)
    rows = np.arange(6)
    expected = nearest(-np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2)), 2)
    np.testing.assert_array_equal(nearest_in_plane(points, 2, rows), expected)
    lattice = np.stack(np.meshgrid(range(12), range(12)), axis=-1).reshape(-1, 2).astype(float)
    expected = nearest(-np.sqrt(((lattice[:, None] - lattice[None]) ** 2).sum(axis=2)), 3)
    np.testing.assert_array_equal(nearest_in_plane(lattice, 3, np.arange(144)), expected)
    same = np.zeros((30, 2))
    np.testing.assert_array_equal(nearest_in_plane(same, 2, np.array([0, 29])), [[1, 2], [0, 1]])


def test_where_the_store_cannot_be_written(made):
    """``map`` says so before it computes anything; points are computed all the same."""

    def refuse(operation, path, _):
        if operation in (CREATE, MAKE_FOLDER):
            raise OSError(errno.EROFS, "read-only", str(path))

    with watched(refuse, made.root):
        with pytest.raises(OSError, match="derived"):
            made.store.map(method="tsne")
        ids, _ = made.store.map_points(made.space, "top")
    assert len(ids) == 60
    assert not (made.root / "derived" / "maps").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Error writing bytes to file"),
        OSError("error closing file"),  # as Arrow says it where the disk fails then
    ],
)
def test_a_disk_that_fails_is_named_with_the_folder(made, monkeypatch, error):
    def write_table(_, path):
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", write_table)
        with pytest.raises(OSError, match=made.space) as found:
            made.store.map()
    assert found.value.errno == errno.EIO
    assert found.value.filename == str(made.root / "derived" / "maps" / f"space={made.space}")
    assert not [path for path in (made.root / "derived").rglob("*") if path.is_file()]
    made.store.map()


def test_positions_that_are_not_finite_are_refused(made, monkeypatch):
    import openTSNE

    monkeypatch.setattr(
        openTSNE.TSNEEmbedding, "optimize", lambda self, *_, **__: self.fill(np.nan)
    )
    with pytest.raises(QueryError, match=r"not finite.*pca"):
        made.store.map(method="tsne")
    assert not files_of(made.root)


def test_progress_is_told_within_a_layer(made, monkeypatch):
    monkeypatch.setattr(exact_knn, "_QUERIES", 20)
    seen = []
    made.store.map(method="tsne", progress=seen.append)
    assert {each.stage for each in seen} == {"map"}
    assert seen[-1].done == seen[-1].total == 3
    assert [each.done for each in seen].count(0) > 10
    again = []
    with observing(again.append):
        made.store.map_points(made.space, 2, method="tsne", seed=1)
    assert again[-1].done == 3
