"""What info says of a store."""

from store_writing import replace_card
from synthetic import index_space, synthetic_card
from tiny_checkpoint import stored_files

from embstore.query.info import INFO_COLUMNS
from embstore.query.provenance import REVISION_COLUMNS
from embstore.storage import keys
from embstore.storage.manifest import Change


def test_one_row_per_space(make_store):
    made = make_store(n=30, n_blocks=12, layers="0-3,7,10-12,raw", n_shards=3, dtype="float16")
    make_store(
        n=4, unit="sentence", pooling="eos", template="{text}{eos}", revision=None, index=False
    )
    word, sentence = sorted(made.store.info(), key=lambda row: row["unit"] != "word")
    assert tuple(word) == tuple(name for name in INFO_COLUMNS if name not in REVISION_COLUMNS)
    assert word["checkpoint"] == "toy/checkpoint@c0ffee"
    assert (word["items"], word["shards"], word["dtype"], word["dim"]) == (30, 3, "float16", 8)
    assert word["layers"] == "0-3,7,10-12,raw"
    assert (word["index"], sentence["index"]) == ("flat", "none")
    assert sentence["checkpoint"] == "toy/checkpoint@sha256:000000000000"
    assert (sentence["pooling"], sentence["template"]) == ("eos", "{text}{eos}")
    files = [
        path for path in stored_files(made.root) if made.space in str(path.relative_to(made.root))
    ]
    assert word["bytes"] == sum(path.stat().st_size for path in files)


def test_what_a_build_left_that_was_killed_at_its_first_shard_is_told(make_store):
    made = make_store(n=4)
    replace_card(made.root, synthetic_card(space="begun"))
    found = made.store.info()
    assert {row["space"]: row["items"] for row in found} == {"begun": 0, "toy.word.last": 4}
    [note] = found.notes
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
    made.files.commit(lambda base: Change(removed=base.keys_of(keys.INDEXES, made.space, 2)))
    assert made.store.info()["index"] == ["behind"], "one layer without is not whole"
