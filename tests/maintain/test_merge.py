"""merge: a store takes in what another one has; the same items come out as from one store that was
given both.
"""

import re
from contextlib import nullcontext

import numpy as np
import pytest
from kept_columns import write_columns
from sound_stores import problems_of
from store_damage import KINDS, flip, named_files, reseal
from store_writing import SkippedText, write_skipped
from tiny_checkpoint import content, texts

from embstore.base.errors import (
    DamagedError,
    SpaceMismatchError,
    StoreError,
    UnknownNameError,
    UsageError,
)
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.exchange import copies
from embstore.storage import copy
from embstore.storage.objects import Folder
from embstore.storage.writer import StoreWriter, write_dataset


def visible(root):
    """What readers may look at: no lock."""
    found = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    return {name: data for name, data in found.items() if not name.startswith(".")}


def vectors_of(made):
    """Item id → the bytes of its vectors in all layers, as made."""
    return {item: made.vectors[:, place].tobytes() for place, item in enumerate(made.ids.tolist())}


def stored(root, space):
    layers = content(root)[space]
    return {
        item: b"".join(layers[layer][item].tobytes() for layer in sorted(layers))
        for item in next(iter(layers.values()))
    }


def test_a_space_that_is_new_here_is_copied_as_it_is(make_store):
    mine = make_store("mine", n=10)
    other = make_store(
        "other", unit="occurrence", texts=["the bank of the river", "a bank"], n_shards=3
    )
    before = visible(other.root)
    done = mine.store.merge(other.root)
    assert [(row["action"], row["items"], row["detail"]) for row in done] == [
        ("merged", 9, "1 table of texts"),
        ("merged", 7, "5 indexes, 15 shards"),
    ]
    assert visible(other.root) == before
    after = visible(mine.root)
    for name, data in before.items():
        if name.startswith(("vectors/", "sums/", "spaces/", "indexes/")):
            assert after[name] == data, name
    assert problems_of(mine.store) == []
    assert mine.store.info()["index"] == ["flat", "flat"]
    assert texts(mine.root) == {**{item.id: item.text for item in mine.items}, **texts(other.root)}
    assert len(mine.store.merge(other.root)) == 0


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_of_a_space_that_is_here_only_new_items_are_taken(make_store, dtype):
    mine = make_store("mine", n=30, seed=1, dtype=dtype)
    other = make_store(
        "other", texts=[f"text{place}" for place in range(25, 60)], n_shards=4, seed=2, dtype=dtype
    )
    done = mine.store.merge(other.store)
    assert [(row["action"], row["items"], row["detail"]) for row in done] == [
        ("merged", 30, "1 table of texts"),
        ("merged", 30, "20 shards"),
        ("rebuilt", 60, f"the sums of {mine.space}"),
        ("rebuilt", 60, "the indexes of 5 layers"),
    ]
    assert problems_of(mine.store) == []
    assert stored(mine.root, mine.space) == {**vectors_of(other), **vectors_of(mine)}
    assert mine.store.info()["items"] == [60]
    assert mine.store.info()["index"] == ["flat"]
    assert set(mine.store.neighbours("text59", layers=0, k=59)["text"]) == {
        f"text{i}" for i in range(59)
    }


def test_parts_of_one_source_come_together(make_store):
    """As from several machines that each built a part of the texts."""
    words = [f"w{place}" for place in range(60)]
    vectors = np.random.default_rng(3).normal(size=(5, 60, 8)).astype(np.float32)
    whole = make_store("whole", texts=words, vectors=vectors)
    mine = make_store("part0", texts=words[0::3], vectors=vectors[:, 0::3])
    for part in (1, 2):
        made = make_store(f"part{part}", texts=words[part::3], vectors=vectors[:, part::3])
        mine.store.merge(made.root)
    assert stored(mine.root, mine.space) == stored(whole.root, whole.space)
    assert texts(mine.root) == texts(whole.root)
    for mean, other in zip(mine.store.query("norms"), whole.store.query("norms"), strict=True):
        assert mean["mean"] == pytest.approx(other["mean"], rel=1e-12)


def test_only_the_spaces_that_are_named(make_store):
    mine = make_store("mine", n=5)
    make_store("other", n=9, space="plain")
    other = make_store("other", unit="occurrence", texts=["the bank of the river"], space="marked")
    mine.store.merge(other.root, spaces="marked")
    assert mine.store.info()["space"] == ["marked", "toy.word.last"]
    assert texts(mine.root) == {
        **{item.id: item.text for item in [*mine.items, *other.items]},
        next(
            i for i, text in texts(other.root).items() if text == "the bank of the river"
        ): "the bank of the river",
    }
    assert problems_of(mine.store) == []
    with pytest.raises(UnknownNameError, match=r"unknown space 'markd'. Did you mean 'marked'"):
        mine.store.merge(other.root, spaces="markd")


def test_datasets_and_skipped_texts(make_store):
    mine, other = make_store("mine", n=4), make_store("other", n=6)
    for made, n in ((mine, 4), (other, 6)):
        rows = {"item_id": made.ids[:n].tolist(), "text": made.texts[:n], "rank": [*range(n)]}
        write_dataset(made.files, "both", "word list", Unit.WORD, rows)
        write_skipped(
            made.files, [SkippedText(f"t{i}", "skipped", "why", made.space, i) for i in range(n)]
        )
    sentences = {key: value[:2] for key, value in rows.items()}
    sentences["item_id"] = [Item.whole(Unit.SENTENCE, text).id for text in sentences["text"]]
    write_dataset(other.files, "both", "word list", Unit.SENTENCE, sentences)
    write_dataset(other.files, "theirs", "word list", Unit.WORD, rows)
    planned = mine.store.merge(other.root, dry_run=True).to_pylist()
    done = mine.store.merge(other.root).to_pylist()
    verbs = {"would merge": "merged", "would keep": "kept"}
    assert [row["items"] for row in done if row["action"] != "rebuilt"] == [
        row["items"] for row in planned
    ]
    assert [row["action"] for row in done if row["action"] != "rebuilt"] == [
        verbs[row["action"]] for row in planned
    ]
    assert [
        (row["action"], row["file"], row["items"]) for row in done if "datasets" in row["file"]
    ] == [
        ("merged", "datasets/both", 6),
        ("merged", "datasets/theirs", 6),
        ("kept", "datasets/both", None),
    ]
    assert [(row["file"], row["items"]) for row in done if row["file"] == "skipped"] == [
        ("skipped", 2)
    ]
    assert mine.store.sql(
        "SELECT unit, count(*) FROM datasets.both GROUP BY unit ORDER BY unit"
    ).fetchall() == [("sentence", 2), ("word", 4)]
    assert len(mine.store.skipped()) == 6
    assert problems_of(mine.store) == []
    assert mine.store.merge(other.root)["action"] == ["kept"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "9"}, 'weights_sha256 is "0000'),
        ({"revision": "beef"}, 'there its revision is "c0ffee", not "beef"'),
        ({"template": "a {text}"}, 'there its template is "{text}", not "a {text}"'),
        ({"layers": "0,1"}, "there its layers is 0,1,2,3,raw, not 0,1"),
        ({"dtype": "float16"}, 'there its dtype is "float32", not "float16"'),
    ],
)
def test_spaces_that_differ_are_refused_with_the_difference(make_store, change, message):
    mine = make_store("mine", n=5)
    make_store("other", n=7, space="another")
    other = make_store("other", n=7, space=mine.space, **change)
    before = visible(mine.root)
    with pytest.raises(SpaceMismatchError) as caught:
        mine.store.merge(other.root)
    assert message in str(caught.value)
    assert "Nothing was copied. Name other spaces with `spaces`" in str(caught.value)
    assert visible(mine.root) == before
    mine.store.merge(other.root, spaces="another")
    assert mine.store.info()["space"] == ["another", mine.space]


def test_what_is_no_store_or_the_store_itself_gives_nothing(make_store, tmp_path):
    mine, newer = make_store("mine", n=5), make_store("newer", n=5)
    for path in newer.root.rglob("manifest/*.json"):
        reseal(path, b'"format": 4', b'"format": 99')
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(mine.root)
    with StoreWriter(tmp_path / "bare"):
        pass
    for other, message in (
        (tmp_path / "nowhere", "no store at"),
        (tmp_path / "empty", "no store at"),
        (newer.root, "has format 99"),
        (tmp_path / "bare", "holds no space"),
        *(
            (path, "is the store itself")
            for path in (mine.root, tmp_path / "link", mine.root / ".." / "mine")
        ),
    ):
        with pytest.raises(UsageError if "itself" in message else StoreError, match=message):
            mine.store.merge(other)
    for take in (mine.store.merge, mine.store.pull):  # not the store at the default place
        with pytest.raises(UsageError, match="there is no default"):
            take(None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shard", "items", "card", "dataset", "skipped", "columns"])
@pytest.mark.parametrize("overlap", [False, True])
def test_a_damaged_file_of_the_other_is_named_and_nothing_taken(make_store, kind, overlap):
    mine, other = make_store("mine", n=5 if overlap else 0), make_store("other", n=40, n_shards=4)
    write_skipped(other.files, [SkippedText("t", "skipped", "why", other.space, 3)])
    rows = {"item_id": other.ids.tolist(), "text": other.texts}
    write_dataset(other.files, "words", "word list", Unit.WORD, rows)
    write_columns(other, {"freq": [7] * 40})
    path = max({*other.root.glob(KINDS[kind])} & {*named_files(other.root)})
    flip(path, path.stat().st_size * 2 // 3, bits=2)
    before = mine.store.info().to_pylist()
    with pytest.raises(DamagedError, match=path.name) as caught:
        mine.store.merge(other.root)
    commands = re.findall(
        r"embstore (?:verify|repair)(?: --store (\S+?)[.,]?(?= |$))?", str(caught.value)
    )
    assert {*commands} <= {str(other.root)}
    assert mine.store.info().to_pylist() == before


def test_items_that_a_rival_stores_meanwhile_are_not_copied(make_store, monkeypatch):
    mine, other = make_store("mine", n=5), make_store("other", n=40, n_shards=4)
    rivals = []

    def copy_files(*arguments):
        if not rivals:
            rivals.append(make_store("mine", texts=["text20"], index=False))
        return copy.copy_files(*arguments)

    monkeypatch.setattr(copies, "copy_files", copy_files)
    monkeypatch.setattr("embstore.storage.writer.write_lock", lambda *_: nullcontext())
    mine.store.merge(other.root)
    assert mine.store.info()["items"] == [40]
    assert stored(mine.root, mine.space) == {
        **vectors_of(other),
        **vectors_of(rivals[0]),
        **vectors_of(mine),
    }
    assert problems_of(mine.store) == []


def test_what_an_interrupted_copy_has_left_is_not_copied_again(make_store, monkeypatch):
    mine, other = make_store("mine", n=5, space="small"), make_store("other", n=40, n_shards=4)
    with monkeypatch.context() as patch:
        patch.setattr(copies, "Change", lambda *_: pytest.exit())
        with pytest.raises(pytest.exit.Exception):
            mine.store.merge(other.root)
    taken = []
    download = Folder.download
    monkeypatch.setattr(
        Folder, "download", lambda own, key, target: (taken.append(key), download(own, key, target))
    )
    flip(mine.root / other.shard_files[0].relative_to(other.root))
    mine.store.merge(other.root)
    assert [key for key in taken if key.startswith("vectors/")] == [
        other.shard_files[0].relative_to(other.root).as_posix()
    ]
    assert problems_of(mine.store) == []
