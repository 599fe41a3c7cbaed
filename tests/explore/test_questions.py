"""What the server answers: the numbers of Store, and the command that gives them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets_written import write_pairs
from explorer_page import run
from kept_columns import write_columns
from scipy.stats import rankdata
from synthetic import synthetic_store

from embstore import Store
from embstore.explore.maps import stored_maps
from embstore.explore.questions import colours, overview, residuals

SPACE = "toy.word.last"


def unpacked(data):
    """Return header, ids and positions of a packed map."""
    end = 4 + int.from_bytes(data[:4], "little")
    header = json.loads(data[4:end])
    ids = np.frombuffer(data, "<i8", header["n"], end)
    places = np.frombuffer(data, "<u2", -1, end + 8 * header["n"]).reshape(
        len(header["layers"]), header["n"], 2
    )
    low, high = np.array(header["low"]), np.array(header["high"])
    return header, ids, low + places / 65_535 * (high - low)


def in_python(line):
    return eval(line, {"embstore": __import__("embstore")})


def test_the_overview_is_that_of_the_store(client, explored):
    found = client.get("/api/store")
    assert {space["space"]: space["items"] for space in found["spaces"]} == {
        row["space"]: row["items"] for row in explored.store.info()
    }
    assert {space["space"]: space["layer_names"] for space in found["spaces"]}[SPACE] == list(
        explored.card.layers.names
    )
    assert found["datasets"] == explored.store.catalog.datasets()
    assert found["name"] == "<b>store"
    assert [each["name"] for each in found["metrics"]] == explored.store.metrics()["name"]


@pytest.mark.slow
def test_a_map_has_the_positions_of_the_store(client, explored, tmp_path):
    header, ids, positions = unpacked(client.request("GET", f"/api/map?space={SPACE}")[2])
    assert header["layers"] == list(explored.card.layers.names)
    order = np.argsort(explored.ids)
    assert header["texts"] == [explored.texts[at] for at in order]
    own = Store(shutil.copytree(explored.root, tmp_path / "store"))  # which keeps the map
    for layer, found in zip(explored.card.layers.names, positions, strict=True):
        expected_ids, expected = own.map_points(SPACE, layer)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.slow
def test_the_share_of_neighbours_that_a_map_keeps(client, explored):
    header, _, positions = unpacked(client.request("GET", f"/api/map?space={SPACE}")[2])
    assert header["kept"] is None  # it takes longer than the map
    kept = client.get(f"/api/kept?space={SPACE}")
    order = np.argsort(explored.ids)
    for at, layer in enumerate(explored.card.layers.ids):
        vectors = explored.layer(layer)[order].astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = vectors @ vectors.T
        distances = ((positions[at][:, None] - positions[at][None]) ** 2).sum(axis=2)
        np.fill_diagonal(cosines, -9)
        np.fill_diagonal(distances, np.inf)
        near, near_on_map = np.argsort(-cosines)[:, :10], np.argsort(distances)[:, :10]
        share = np.mean(
            [
                len({*a} & {*b}) / 10
                for a, b in zip(near.tolist(), near_on_map.tolist(), strict=True)
            ]
        )
        assert abs(kept[at] - share) < 0.01  # positions have 16 bits


@pytest.mark.slow
def test_stored_maps_come_first(serve, tmp_path):
    made = synthetic_store(tmp_path / "store", n=30, n_blocks=2, top_form=None)
    made.store.map(where="item_id % 2 = 0", seed=5)
    client = serve(made.root).enter()
    [name] = client.get("/api/store")["maps"][made.space]
    assert name == "stored pca, where item_id % 2 = 0, seed 5"
    header, ids, positions = unpacked(client.request("GET", f"/api/map?space={made.space}")[2])
    for at, layer in enumerate(made.card.layers.ids):
        expected_ids, expected = made.store.map_points(
            made.space, layer, where="item_id % 2 = 0", seed=5
        )
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_allclose(positions[at], expected, atol=2e-4)
    assert header["kept"] == [row["kept"] for row in made.store.maps()]
    assert {row["did"] for row in [*run(header["command"]), *in_python(header["python"])]} == {
        "found"
    }
    assert unpacked(client.request("GET", f"/api/map?space={made.space}&map=pca")[2])[0]["n"] == 30
    status, _, body = client.request("GET", f"/api/map?space={made.space}&map=tsne")
    assert status == 422
    assert "unknown map" in json.loads(body)["error"]


def test_a_map_of_one_layer_is_not_the_first(tmp_path):
    made = synthetic_store(tmp_path / "store", n=30, n_blocks=2, top_form=None)
    made.store.map(layers="0,2")
    made.store.map_points(made.space, 1)  # together with all layers
    assert [*stored_maps(made.store)[made.space]] == ["stored pca, layers 0,2", "stored pca"]


@pytest.mark.slow
def test_maps_of_other_layers_have_names_of_their_own(serve, tmp_path):
    made = synthetic_store(tmp_path / "store", n=30, n_blocks=2, top_form=None)
    made.store.map(layers="0,2")
    made.store.map()
    for layers in ("0-1", "0,2"):
        made.store.map(method="tsne", layers=layers)
    client = serve(made.root).enter()
    names = client.get("/api/store")["maps"][made.space]
    assert names == [
        "stored tsne, layers 0,1",
        "stored tsne, layers 0,2",
        "stored pca",
        "stored pca, layers 0,2",
    ]
    for name, method, layers in zip(
        names, ("tsne", "tsne", "pca", "pca"), ("0,1", "0,2", "0,1,2", "0,2"), strict=True
    ):
        query = name.replace(" ", "%20")
        header, _, positions = unpacked(
            client.request("GET", f"/api/map?space={made.space}&map={query}")[2]
        )
        assert ",".join(header["layers"]) == layers
        assert {row["did"] for row in run(header["command"])} == {"found"}
        for at, layer in enumerate(header["layers"]):
            _, expected = made.store.map_points(made.space, layer, method=method, layers=layers)
            np.testing.assert_allclose(
                positions[at], expected, atol=1e-4 * np.abs(expected).max() + 2e-4
            )


def test_a_map_of_occurrences_has_their_sentences(client):
    header, ids, _ = unpacked(client.request("GET", "/api/map?space=toy.occurrence.last")[2])
    assert sorted(header["contexts"]) == sorted(
        ("the bank of the river", "the bank lends <b>money</b>", "a river of money")
    )
    for at in range(len(ids)):
        start, end = header["spans"][at]
        assert header["contexts"][header["context_of"][at]][start:end] == header["texts"][at]


def test_the_items_of_a_large_space_are_a_sample(explored, monkeypatch):
    from embstore.explore import items

    monkeypatch.setattr(items, "MOST", 20)
    found = items.read_items(explored.store, SPACE)
    step = -(-len(explored.ids) // 20)
    assert found.where == f"item_id % {step} = 0"
    assert found.ids.tolist() == sorted(int(item) for item in explored.ids if item % step == 0)
    assert found.n_stored == len(explored.ids)


def test_suggestions_begin_with_what_is_typed(client):
    assert client.get(f"/api/suggest?space={SPACE}&typed=DOG")["texts"][:3] == [
        "dog",
        "doge",
        "dogs",
    ]
    assert client.get(f"/api/suggest?space={SPACE}&typed=at")["texts"] == ["cat", "cats"]
    assert client.get(f"/api/suggest?space={SPACE}&typed=")["texts"] == []


@pytest.mark.parametrize("text", ["dog", "'; DROP", '"quoted" & <b>bold</b>', "a\nb"])
def test_neighbours_are_those_of_their_command_to_the_last_digit(client, text):
    found = client.post("/api/neighbours", text=text, spaces=[SPACE], layers="0,top", k=5)
    printed = run(found["command"])
    assert [(row["item_id"], row["layer_name"], row["cosine"]) for row in found["rows"]] == [
        (str(row["item_id"]), row["layer_name"], row["cosine"]) for row in printed
    ]
    assert len(printed) == 10
    python = in_python(found["python"])
    assert python["cosine"] == [row["cosine"] for row in found["rows"]]


def test_the_layers_of_neighbours_are_by_default_those_of_python(client, explored):
    found = client.post("/api/neighbours", text="dog", spaces=[SPACE], k=2)
    expected = explored.store.neighbours("dog", spaces=SPACE, k=2)
    assert [row["layer_name"] for row in found["rows"]] == expected["layer_name"]


def test_messages_and_helps_name_the_fields_of_the_page(client):
    sets = {"x": "dog, nowhere", "y": "cat", "a": "word01, word02", "b": "word03, word04"}
    for name, parameters, message in (
        ("weat", {}, "weat needs x='WORDS' and y='WORDS': words with commas, as in rose,tulip"),
        ("sc-weat", {}, "sc-weat needs words='WORDS'"),
        ("weat", sets, "go on without it: missing='skip'; or choose other spaces"),
    ):
        options = {"spaces": [SPACE]}
        error = client.post(
            "/api/metric", status=422, name=name, options=options, parameters=parameters
        )["error"]
        assert message in error
    error = client.post("/api/neighbours", status=422, text="unheard-of", spaces=[SPACE])["error"]
    assert "To encode it now, tick “encode a new text”; to keep it: embstore build FILE" in error
    error = client.post("/api/neighbours", status=422, text="bank", spaces=["toy.occurrence.last"])[
        "error"
    ]
    assert "marked='the [bank] of the river'" in error
    declared = client.get("/api/metric?name=weat")
    helps = {each["name"]: each["help"] for each in declared["parameters"]}
    assert helps["x"] == "Target words X, one a line or with commas: rose,tulip."
    assert helps["y"] == "Target words Y, one a line or with commas."
    assert "no more than `permutations`. Else" in declared["estimator"]
    helps = {
        each["name"]: each["help"]
        for each in client.get("/api/metric?name=similarity")["parameters"]
    }
    assert helps["dataset"].endswith("Several: with commas.")


@pytest.mark.slow
def test_metrics_take_words_in_lists_and_never_read_a_file(client, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("dog\n")
    sets = {
        "x": "dog, dogs",
        "y": ["cat", "cats"],
        "a": "word01,word02,word03",
        "b": "word04\nword05\nword06",
    }
    found = client.post("/api/metric", name="weat", options={"spaces": [SPACE]}, parameters=sets)
    lists = {"x": ["dog", "dogs"], "y": ["cat", "cats"], "a": ["word01", "word02", "word03"]}
    lists["b"] = ["word04", "word05", "word06"]
    expected = Store(client.get("/api/store")["path"]).query("weat", spaces=SPACE, **lists)
    assert [row["effect_size"] for row in found["rows"]] == expected["effect_size"]
    run_in_shell = ["bash", "-ec", f"{found['command']} --format json"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        run_in_shell, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, check=True
    )
    assert [row["effect_size"] for row in json.loads(done.stdout)] == expected["effect_size"]
    error = client.post(
        "/api/metric",
        status=422,
        name="weat",
        options={"spaces": [SPACE]},
        parameters=sets | {"x": str(words)},
    )
    assert str(words) in error["error"]  # taken for a word


def test_colours(client, explored):
    """The values themselves are in test_colours.py."""
    order = np.argsort(explored.ids)
    for given in ({"kind": "length"}, {"kind": "column", "column": "length(text)"}):
        found = client.post("/api/colours", space=SPACE, layer="1", **given)
        assert found["values"] == [len(explored.texts[at]) for at in order]
    found = client.post("/api/colours", space=SPACE, kind="column", column="text LIKE 'dog%'")
    assert [found["categories"][value] == "True" for value in found["values"]] == [
        explored.texts[at].startswith("dog") for at in order
    ]


@pytest.mark.slow
def test_colours_by_a_column(make_store):
    made = make_store("columns", index=False)
    write_columns(
        made, {"freq": [*range(len(made.ids))], "pos": [f"p{n % 2}" for n in range(len(made.ids))]}
    )
    rank = {item: number for number, item in enumerate(made.ids.tolist())}
    order = sorted(rank)
    found = colours(made.store, made.space, "column", column="freq + 1")
    assert found["values"] == [rank[item] + 1 for item in order]
    found = colours(made.store, made.space, "column", column="pos")
    assert [found["categories"][value] for value in found["values"]] == [
        f"p{rank[item] % 2}" for item in order
    ]
    found = colours(made.store, made.space, "where", column="freq < 3 AND zipf_frequency = 0")
    assert [found["categories"][value] == "True" for value in found["values"]] == [
        rank[item] < 3 for item in order
    ]
    assert overview(made.store)["columns"] == ["freq", "pos"]
    write_columns(made, {f"n_tokens.{made.space}": [n % 3 for n in range(len(made.ids))]})
    assert overview(made.store)["columns"] == ["freq", "pos", "n_tokens"]
    found = colours(made.store, made.space, "column", column='"n_tokens"')
    assert (found["label"], found["values"]) == ("n_tokens", [rank[item] % 3 for item in order])
    found = colours(made.store, made.space, "where", column="n_tokens > 0")
    assert [found["categories"][value] == "True" for value in found["values"]] == [
        rank[item] % 3 > 0 for item in order
    ]


def test_categories_have_the_same_order_in_each_space_of_a_unit(make_store):
    made = make_store("two", index=False, n=6)
    write_columns(made, {"pos": [*"aaaabb"]})
    other = make_store("two", index=False, model="other", texts=made.texts[3:])  # a once, b twice
    found = [
        colours(made.store, space, "column", column="pos") for space in (made.space, other.space)
    ]
    assert [each["categories"] for each in found] == [["a", "b"]] * 2
    assert sorted(found[1]["values"]) == [0, 1, 1]


@pytest.mark.parametrize("kind", ["where", "column"])
@pytest.mark.parametrize("expression", ["length(text) >", "text = 'a') OR (1 = 1"])
def test_an_error_of_an_expression_is_about_what_was_written(client, kind, expression):
    error = client.post("/api/colours", status=422, space=SPACE, kind=kind, column=expression)[
        "error"
    ]
    assert error.startswith(f"{expression!r} is not one SQL expression over the item columns")


def test_clusters_are_numbered_by_size_and_named_by_their_central_texts(client, explored):
    found = client.post("/api/colours", space=SPACE, kind="cluster", layer="1")
    counts = np.bincount(found["values"])
    assert len(counts) == 8
    assert sorted(counts, reverse=True) == counts.tolist()
    order = np.argsort(explored.ids)
    units = explored.layer(1)[order] / np.linalg.norm(
        explored.layer(1)[order], axis=1, keepdims=True
    )
    for number, name in enumerate(found["categories"]):
        members = np.flatnonzero(np.array(found["values"]) == number)
        nearest = members[np.argsort(-(units[members] @ units[members].mean(axis=0)))][:3]
        assert name.partition(": ")[2] == ", ".join(explored.texts[order[at]] for at in nearest)
    assert sorted(int(name.partition(":")[0]) for name in found["categories"]) == list(range(1, 9))


def test_a_colour_that_cannot_be_computed_says_why(client):
    assert (
        "search one first"
        in client.post("/api/colours", status=422, space=SPACE, kind="cosine")["error"]
    )
    assert (
        "above the first"
        in client.post("/api/colours", status=422, space=SPACE, kind="change", layer="0")["error"]
    )
    assert (
        "Known: norm" in client.post("/api/colours", status=422, space=SPACE, kind="taste")["error"]
    )
    assert (
        "nowhere"
        in client.post("/api/colours", status=422, space=SPACE, kind="column", column="nowhere")[
            "error"
        ]
    )


def test_pairs_are_listed_by_the_difference_of_ranks(client, explored):
    found = client.post("/api/residuals", dataset="pairs", space=SPACE, layer="0")
    rows = explored.store.sql("SELECT text, text_2, score FROM datasets.pairs").fetchall()
    at = {text: place for place, text in enumerate(explored.texts)}
    kept = [(a, b, score) for a, b, score in rows if a in at and b in at]
    vectors = explored.layer(0).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.array([vectors[at[a]] @ vectors[at[b]] for a, b, _ in kept])
    ranks = [
        (rankdata(values) - 1) / (len(kept) - 1)
        for values in (cosines, [score for *_, score in kept])
    ]
    expected = dict(zip(kept, ranks[0] - ranks[1], strict=True))
    assert found["n"] == len(kept)
    assert found["total"] == len(rows)
    for row in found["rows"]:
        assert row["residual"] == pytest.approx(
            expected[row["text"], row["text_2"], row["score"]], abs=1e-9
        )
    sizes = [abs(row["residual"]) for row in found["rows"]]
    assert sizes == sorted(sizes, reverse=True)
    by_sql = {row[:3]: row[3:] for row in in_python(found["python"]).fetchall()}
    assert by_sql.keys() == {(row["text"], row["text_2"], row["score"]) for row in found["rows"]}
    for row in found["rows"]:
        shown = row["cosine"], row["residual"]
        assert by_sql[row["text"], row["text_2"], row["score"]] == pytest.approx(shown, abs=1e-9)


def test_zero_vectors_are_ranked_neither_on_the_page_nor_by_its_sql(tmp_path):
    vectors = np.random.default_rng(7).normal(size=(1, 40, 8))
    vectors[:, [2, 3, 5]] = 0
    vectors[:, 30:] = vectors[:, 10:20]  # pairs with the same cosine
    texts = [f"word{row:02d}" for row in range(40)]
    made = synthetic_store(
        tmp_path / "store", vectors=vectors, texts=texts, n_blocks=0, top_form=None
    )
    write_pairs(made, "pairs")
    found = residuals(made.store, "pairs", made.space, "0")
    zero = {texts[row] for row in (2, 3, 5)}
    pairs = made.store.sql("SELECT text, text_2, score FROM datasets.pairs").fetchall()
    used = [(a, b, score) for a, b, score in pairs if not {a, b} & zero]
    assert 0 < found["n"] == len(used) < found["total"] == len(pairs)
    assert sorted((row["text"], row["text_2"], row["score"]) for row in found["rows"]) == sorted(
        used
    )
    shown = [(row["text"], row["text_2"], row["score"], row["residual"]) for row in found["rows"]]
    by_sql = in_python(found["python"]).fetchall()
    assert [(*row[:3], row[4]) for row in by_sql] == shown
    assert [row[3] for row in by_sql] == pytest.approx(
        [row["cosine"] for row in found["rows"]], abs=1e-14
    )


def test_sql_reads_the_store_only_and_says_when_rows_are_cut(client):
    found = client.post("/api/sql", select="SELECT * FROM range(1001)")
    assert found["is_cut"]
    assert len(found["rows"]) == found["limit"] == 1_000
    found = client.post("/api/sql", select="SELECT item_id, text FROM items WHERE text = 'dog'")
    assert not found["is_cut"]
    assert found["rows"][0]["1"] == "dog"
    assert in_python(found["python"]).fetchall()[0][1] == run(found["command"])[0]["text"] == "dog"
    assert isinstance(found["rows"][0]["0"], str)  # JavaScript would round it
    for bad in (
        "DELETE FROM items",
        "SELECT 1; SELECT 2",
        "FROM read_text('/etc/passwd')",
        "SELECT getenv('HOME')",
    ):
        assert client.post("/api/sql", status=422, select=bad)["error"]


def test_cells_are_cut_to_what_a_page_can_show(client):
    found = client.post(
        "/api/sql",
        select="SELECT repeat('x', 5000) AS long, 'NaN'::DOUBLE AS nan, '\\xff'::BLOB AS bytes",
    )
    assert found["rows"][0]["0"] == "x" * 2_000 + "…"
    assert found["rows"][0]["1"] is None
    assert found["rows"][0]["2"] == "ff"


@pytest.mark.slow
def test_the_explorer_changes_nothing_in_the_store(client, explored):
    before = {path: path.stat().st_mtime_ns for path in explored.root.rglob("*")}
    client.request("GET", f"/api/map?space={SPACE}")
    client.post("/api/metric", name="isoscore", options={"spaces": [SPACE]}, parameters={})
    client.post("/api/metric", name="cka", options={"spaces": [SPACE]}, parameters={})
    client.post("/api/neighbours", text="dog", spaces=[SPACE], layers="all", exact=True)
    client.post("/api/sql", select="SELECT 1")
    client.get("/api/inventory")
    assert {path: path.stat().st_mtime_ns for path in explored.root.rglob("*")} == before
