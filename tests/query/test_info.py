"""What info says of a store."""

from synthetic import index_space, synthetic_card

from embstore.index.updating import remove_indexes
from embstore.query.info import INFO_COLUMNS
from embstore.query.provenance import REVISION_COLUMNS
from embstore.storage.manifest import Change
from embstore.storage.writer import write_card


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
    files = made.files.manifest().keys_of_space(made.space)
    assert len(files) == 1 + 9 * 3 + 1 + 9, "card, shards, sums and indexes"
    assert word["bytes"] == sum((made.root / key).stat().st_size for key in files)


def test_what_a_build_left_that_was_killed_at_its_first_shard_is_told(make_store):
    made = make_store(n=4)
    made.files.commit(Change(write_card(made.files, synthetic_card(space="begun"))))
    found = made.store.info()
    assert {row["space"]: row["items"] for row in found} == {"begun": 0, "toy.word.last": 4}
    [note] = found.notes
    assert note.startswith("begun has no items: ")
    assert note.endswith("Run the same build again, or: embstore remove --space begun")
    made.store.remove("begun")
    assert made.store.info().notes == ()


def test_the_state_of_the_index(make_store):
    made = make_store(n=4)
    assert made.store.info()["index"] == ["flat"]
    make_store(texts=["new"], index=False)
    assert made.store.info()["index"] == ["behind"]
    index_space(made.root, made.card)
    assert made.store.info()["index"] == ["flat"]
    remove_indexes(made.root, made.space, [2])
    assert made.store.info()["index"] == ["behind"], "one layer without is not whole"
