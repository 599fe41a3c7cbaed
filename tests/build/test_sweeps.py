"""Builds of several checkpoints of one training run: a space for each revision, with its step in
every result.
"""

import gc
import json
from weakref import WeakSet

import huggingface_hub.constants
import numpy as np
import pytest
from huggingface_hub.hf_api import GitRefInfo, GitRefs
from sweep import COMMITS, HUB_ID, STEPS, WORDS, hidden_states, write_hub_cache, write_run
from tiny_checkpoint import card

from embstore import Store
from embstore.base.errors import (
    CheckpointError,
    CheckpointUnavailableError,
    QueryError,
    UnknownNameError,
    UsageError,
)
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.encode.forward import Encoder

pytestmark = pytest.mark.slow

IN_ORDER = ["step0", "step2", "step16"]
SPACES = [f"tiny-neox.{name}.word.last" for name in IN_ORDER]


@pytest.fixture(scope="module")
def hub(tmp_path_factory, checkpoint):
    """A local cache of the hub; nothing else of the hub can be reached."""
    cache = write_hub_cache(tmp_path_factory.mktemp("hub"), checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("training") / "run")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "words.txt"
    file.write_text("\n".join(WORDS), "utf-8")
    return file


@pytest.fixture(scope="module")
def swept(tmp_path_factory, hub, words):
    """A store with a space of each revision; nothing may change it but its answers."""
    store = Store(tmp_path_factory.mktemp("swept") / "store")
    store.build(str(words), models=HUB_ID, revisions=["step0,step16", "step2"])
    return store


def vectors(store, space, layer):
    rows = store.sql(
        f"SELECT item_id, vector FROM embeddings WHERE space = '{space}' AND layer = {layer}"
    ).fetchall()
    return {item: np.array(vector) for item, vector in rows}


def test_each_revision_is_a_space_with_the_vectors_of_transformers(swept, hub):
    assert list(swept.catalog.cards) == SPACES
    for name, space in zip(IN_ORDER, SPACES, strict=True):
        card = swept.catalog.cards[space]
        assert (card.model, card.checkpoint, card.revision) == ("tiny-neox", HUB_ID, COMMITS[name])
        assert (card.revision_name, card.step) == (name, int(name.removeprefix("step")))
        folder = hub / f"models--{HUB_ID.replace('/', '--')}" / "snapshots" / COMMITS[name]
        for layer, expected in enumerate(hidden_states(folder, "river")):
            found = vectors(swept, space, layer)[item_id(Unit.WORD, "river")]
            assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


def test_revisions_are_named_with_the_models_too(swept, words, tmp_path):
    store = Store(tmp_path / "store")
    report = store.build(
        str(words), models=[f"{HUB_ID}@step0", f"{HUB_ID}@step16", f"{HUB_ID}@step2"]
    )
    assert [space.space for space in report.spaces] == [SPACES[0], SPACES[2], SPACES[1]]
    cards, expected = store.catalog.cards, swept.catalog.cards
    assert cards.keys() == expected.keys()
    assert not any(card.differences(expected[space]) for space, card in cards.items())
    again = store.build(str(words), models=HUB_ID, revisions=list(COMMITS))
    assert [(space.embedded, space.present) for space in again.spaces] == [(0, len(WORDS))] * 3


def test_a_single_revision_named_with_the_model_keeps_its_space(hub, words, tmp_path):
    store = Store(tmp_path / "store")
    store.build(str(words), models=f"{HUB_ID}@step16", layers="0", index="none")
    assert list(store.catalog.cards) == ["tiny-neox.word.last"]
    assert store.query("anisotropy")["step"] == [16]


def test_folders_of_a_training_run(run, words, tmp_path):
    store = Store(tmp_path / "store")
    names = [f"checkpoint-{step}" for step in STEPS]
    store.build(str(words), models=str(run), revisions=names, layers="0", index="none")
    assert list(store.catalog.cards) == [f"run.{name}.word.last" for name in names]
    found = store.query("anisotropy", models="run")
    assert (found["revision"], found["step"]) == (names, list(STEPS))

    store.build(str(words), models=[str(run), str(run / names[0])], layers="0", index="none")
    other = store.query("anisotropy", spaces=["run.word.last", f"{names[0]}.word.last"])
    assert (other["revision"], other["step"]) == ([None, names[0]], [None, STEPS[0]])
    again = Store(tmp_path / "again")
    again.build(str(words), models=str(run), revisions="all", layers="0", index="none")
    assert again.query("anisotropy", models="run")["revision"] == names


@pytest.fixture
def refs(hub, monkeypatch):
    """The hub's reply to a question for the refs of a repository; yields the repositories that it
    is asked for.
    """
    asked = []
    branches = [GitRefInfo(name, f"refs/heads/{name}", commit) for name, commit in COMMITS.items()]
    branches.append(GitRefInfo("main", "refs/heads/main", COMMITS["step16"]))
    tags = [GitRefInfo("v1", "refs/tags/v1", COMMITS["step0"])]

    def reply(repo_id):
        asked.append(repo_id)
        return GitRefs(branches, [], tags)

    monkeypatch.setattr(huggingface_hub, "list_repo_refs", reply)
    return asked


@pytest.mark.parametrize(
    ("revisions", "expected"),
    [
        ("all", IN_ORDER),  # main and v1 are of commits that have a step's name
        ("step*", IN_ORDER),
        ("step1?,step0", ["step16", "step0"]),
        (["step2", "step[0-2]"], ["step2", "step0"]),
        ("step0", ["step0"]),
    ],
)
def test_patterns_name_revisions_on_the_hub(refs, words, tmp_path, revisions, expected):
    report = Store(tmp_path / "store").build(
        str(words), models=HUB_ID, revisions=revisions, layers="0", index="none"
    )
    assert [space.space.split(".")[1] for space in report.spaces] == expected
    assert refs == ([] if revisions == "step0" else [HUB_ID])


def test_revisions_that_cannot_be_listed_or_do_not_exist(refs, words, tmp_path, monkeypatch):
    build = Store(tmp_path / "store").build
    with pytest.raises(
        CheckpointError,
        match=r"none of the 3 revisions of .* matches 'epoch\*': step0, step2, step16\.",
    ):
        build(str(words), models=HUB_ID, revisions="epoch*")
    monkeypatch.undo()
    with pytest.raises(
        CheckpointUnavailableError,
        match=r"revisions of 'org/tiny-neox' cannot be listed: .*Name them",
    ):
        build(str(words), models=HUB_ID, revisions="all")


def test_the_weights_of_one_checkpoint_are_loaded_at_a_time(hub, words, tmp_path, monkeypatch):
    loaded = WeakSet()
    alive = []
    load = Encoder.__init__

    def counted(encoder, *arguments, **options):
        gc.collect()
        alive.append(len(loaded))
        load(encoder, *arguments, **options)
        loaded.add(encoder)

    monkeypatch.setattr(Encoder, "__init__", counted)
    Store(tmp_path / "store").build(
        str(words), models=HUB_ID, revisions=list(COMMITS), layers="0", index="none"
    )
    assert alive == [0] * 2 * len(COMMITS)  # once to plan, once to encode


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"revisions": "step2"}, ["step2"]),
        ({"revisions": "step16,step0"}, ["step0", "step16"]),
        ({"revisions": [COMMITS["step2"]]}, ["step2"]),
        ({"models": "tiny-neox", "revisions": ("step0",)}, ["step0"]),
        ({"models": HUB_ID}, IN_ORDER),
    ],
)
def test_queries_choose_revisions(swept, options, expected):
    assert swept.query("anisotropy", layers="0", **options)["revision"] == expected


def test_unknown_revisions_name_the_nearest(swept):
    with pytest.raises(
        UnknownNameError, match=r"unknown revision 'step1'.*Known: step0, step2, step16"
    ):
        swept.query("anisotropy", revisions="step1")
    with pytest.raises(QueryError, match="no space matches unit 'sentence', revision 'step0'"):
        swept.neighbours("dog", revisions="step0", unit="sentence")


def test_every_result_has_the_revision_and_the_step(swept):
    last = SPACES[-1]
    for name, found in (
        ("query", swept.query("anisotropy", layers="1")),
        ("pairs", swept.query("cka", layers="1", against=last)),
        ("neighbours", swept.neighbours("dog", k=2)),
        ("drift", swept.drift("dog", against=last, k=3)),
        ("map", swept.map(layers="1")),
        ("info", swept.info()),
        ("sql", None),
    ):
        if found is None:
            rows = swept.sql("SELECT revision, step FROM spaces ORDER BY step").fetchall()
            assert rows == [(f"step{step}", step) for step in (0, 2, 16)]
            continue
        steps = {(row["space"], row["revision"], row["step"]) for row in found}
        compared = SPACES[:2] if name in ("pairs", "drift") else SPACES
        assert steps == {
            (space, f"step{step}", step)
            for space, step in zip(SPACES, (0, 2, 16), strict=True)
            if space in compared
        }
        if name in ("pairs", "drift"):
            assert {(row["revision_2"], row["step_2"]) for row in found} == {("step16", 16)}


@pytest.mark.slow
def test_the_command_line_follows_training(hub, cli, words, tmp_path):
    cli("build", words, "--model", HUB_ID, "--revision", "step0,step2", "--revision", "step16")
    rows = json.loads(
        cli("query", "anisotropy", "--revision", "step2,step16", "--layer", "top", "--json").stdout
    )
    assert [row["step"] for row in rows] == [2, 16]
    assert [row["space"] for row in json.loads(cli("info", "--json").stdout)] == SPACES
    picture = tmp_path / "cka.svg"
    cli("plot", "cka", "--against", SPACES[-1], "--x", "step", "-o", picture)
    assert "training step" in picture.read_text("utf-8")


def test_stores_without_revisions_have_no_such_columns(make_store):
    made = make_store(n=20)
    store = made.store
    tables = [
        store.query("anisotropy"),
        store.query("cka"),
        store.neighbours("text3"),
        store.info(),
        store.map(),
    ]
    assert not {"revision", "step", "revision_2", "step_2"} & {
        column for found in tables for column in found.columns
    }
    assert "revision_name" not in card(store.path, made.space)


def test_refusals(hub, run, words, tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(
        CheckpointError, match=r"has no config.json: .* In it are run: choose some with revisions="
    ):
        store.build(str(words), models=str(run.parent))
    with pytest.raises(UsageError, match="no checkpoint in the list"):
        store.build(str(words), models=[])
    with pytest.raises(
        CheckpointUnavailableError,
        match=r"org/tiny-neox.* at revision 'step4'.* is not on this machine",
    ):
        store.build(str(words), models=HUB_ID, revisions="step4")
    with pytest.raises(
        CheckpointError, match=r"no revision 'checkpoint-900'.*There is checkpoint-500"
    ):
        store.build(str(words), models=str(run), revisions="checkpoint-900")
    with pytest.raises(UsageError, match=r"names a revision, and revisions=.step0. another"):
        store.build(str(words), models=f"{HUB_ID}@step2", revisions="step0")
    with pytest.raises(UsageError, match="`name` names one space, and 2 models make 2"):
        store.build(str(words), models=HUB_ID, revisions="step0,step2", name="both")
    assert not (tmp_path / "store").exists()
