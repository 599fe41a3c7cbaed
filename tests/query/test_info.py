"""What info says of a store."""

from synthetic import index_space, synthetic_card

from embstore.query.info import INFO_COLUMNS
from embstore.query.provenance import REVISION_COLUMNS
from embstore.storage.transaction.commit import write_card


def test_one_row_per_space(make_store):
    made = make_store(n=30, n_blocks=12, layers="0-3,7,10-12,raw", n_shards=3, dtype="float16")
    make_store(n=4, unit="sentence", pooling="eos", template="{text}{eos}", revision=None, index=False)
    word, sentence = sorted(made.store.info(), key=lambda row: row["unit"] != "word")
    assert tuple(word) == tuple(name for name in INFO_COLUMNS if name not in REVISION_COLUMNS)
    assert word["checkpoint"] == "toy/checkpoint@c0ffee"
    assert (word["items"], word["shards"], word["dtype"], word["dim"]) == (30, 3, "float16", 8)
    assert word["layers"] == "0-3,7,10-12,raw"
    assert (word["index"], sentence["index"]) == ("flat", "none")
    assert sentence["checkpoint"] == "toy/checkpoint@sha256:000000000000"
    assert (sentence["pooling"], sentence["template"]) == ("eos", "{text}{eos}")
    folders = [made.paths.embeddings(made.space), made.paths.summaries(made.space), made.paths.indexes(made.space)]
    assert word["bytes"] == sum(path.stat().st_size for folder in folders for path in folder.iterdir())


def test_what_a_build_left_that_was_killed_at_its_first_shard_is_told(make_store):
    made = make_store(n=4)
    write_card(made.paths, synthetic_card(space="begun"))
    found = made.store.info()
    assert {row["space"]: row["items"] for row in found} == {"begun": 0, "toy.word.last": 4}
    [note] = found.notes
    assert note.startswith("begun has no items: ")
    assert note.endswith("Run the same build again, or: embstore remove --space begun")
    made.store.remove("begun")
    assert made.store.info().notes == ()


def test_a_shard_that_is_lost_is_told(make_store):
    made = make_store(n=4, n_shards=1)
    [lost] = made.shard_files
    lost.unlink()
    assert made.store.info().notes == (f"toy.word.last: {lost.stem} is missing. Run: embstore verify",)


def test_a_damaged_index_card_is_said_and_hides_nothing_else(make_store):
    made = make_store(n=4)
    card = made.paths.index(made.space, made.card.layers.members[1]).with_suffix(".json")
    card.write_text(card.read_text().replace("cosine", "cosinf"))
    row = made.store.info().to_pylist()[0]
    assert (row["index"], row["items"]) == ("damaged", 4)


def test_the_state_of_the_index(make_store):
    made = make_store(n=4)
    assert made.store.info()["index"] == ["flat"]
    make_store(texts=["new"], index=False)
    assert made.store.info()["index"] == ["behind"]
    index_space(made.root, made.card)
    assert made.store.info()["index"] == ["flat"]
    made.paths.index(made.space, made.card.layers.members[2]).unlink()
    assert made.store.info()["index"] == ["behind"], "one layer without is not whole"
