"""Builds with pooling ``model``: the default for sentences of a checkpoint with a recipe, and its
card.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from encode_models import bert, t5
from recipe_checkpoints import OLD, TEXTS, old_layout, outputs, write_json
from sound_stores import problems_of
from tiny_checkpoint import card, columns

from embstore import Store
from embstore.base.errors import CheckpointError, SpaceMismatchError, UnknownNameError, UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    folder = old_layout(
        root / "tiny", bert(root / "bert"), ["mean"], modules=["Normalize"], include_prompt=False
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": "find: ", "document": ""}},
    )
    return folder


@pytest.fixture
def sentences(tmp_path):
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join([*TEXTS, "a b c d " * 30]))
    return file


def build(root, file, checkpoint, **options):
    options = {"unit": "sentence", "index": "none", "models": f"tiny={checkpoint}", **options}
    return Store(root).build(str(file), **options)


def output(store, space, text):
    query = "FROM embeddings JOIN items USING (item_id) SELECT vector WHERE space = $s AND layer = 5 AND text = $t"
    vectors = store.sql(query, {"s": space, "t": text}).fetchnumpy()
    return np.asarray(vectors["vector"][0], np.float32)


def test_the_recipe_is_the_default_for_sentences(tmp_path, sentences, checkpoint):
    report = build(tmp_path / "store", sentences, checkpoint)
    [space] = report.spaces
    assert (space.space, space.embedded, space.truncated) == (
        "tiny.sentence.model",
        len(TEXTS) + 1,
        1,
    )
    [note] = report.notes
    assert note.startswith(
        "tiny.sentence.model: pooled by the own recipe of 'tiny' (mean, Normalize)"
    )
    store = Store(tmp_path / "store")
    assert card(tmp_path / "store", "tiny.sentence.model")["recipe"] == {
        "pooling": ["mean"],
        "include_prompt": False,
        "modules": [{"type": "Normalize"}],
        "max_seq_length": None,
        "do_lower_case": False,
        "prompt": "",
    }
    np.testing.assert_allclose(
        output(store, "tiny.sentence.model", TEXTS[1]),
        outputs(checkpoint, [TEXTS[1]])[0],
        atol=1e-6,
    )
    found = store.neighbours(TEXTS[1], k=2)
    assert set(found["layer_name"]) == {"output"}  # the layer of a query that names none
    assert problems_of(store) == []
    again = build(tmp_path / "store", sentences, checkpoint)
    assert (again.spaces[0].embedded, again.notes) == (0, ())


def test_words_keep_their_default_and_may_have_the_recipe(tmp_path, sentences, checkpoint):
    sentences.write_text("dog\ncat\n")
    names = [
        space.space
        for poolings in ((), ("model", "cls"))
        for space in build(
            tmp_path / "store", sentences, checkpoint, unit="word", poolings=poolings
        ).spaces
    ]
    assert names == ["tiny.word.last", "tiny.word.model", "tiny.word.bos"]


@pytest.mark.slow
def test_prompts(tmp_path, sentences, checkpoint):
    root = tmp_path / "store"
    build(root, sentences, checkpoint, prompt="query")
    store = Store(root)
    found = output(store, "tiny.sentence.model", TEXTS[0])
    np.testing.assert_allclose(found, outputs(checkpoint, TEXTS[:1], "find: ")[0], atol=1e-6)
    with pytest.raises(
        SpaceMismatchError, match=r'its recipe.prompt is "find: ", not ""\. .*another name'
    ):
        build(root, sentences, checkpoint)
    build(root, sentences, checkpoint, prompt="", name="documents")
    with pytest.raises(UnknownNameError, match=r"unknown prompt 'qeury'. Did you mean 'query'"):
        build(root, sentences, checkpoint, prompt="qeury")
    with pytest.raises(
        UsageError, match=r"the prompt 'query' belongs to pooling 'model'.* is 'mean'"
    ):
        build(root, sentences, checkpoint, prompt="query", poolings="mean")
    near = store.neighbours("a new text", k=1, embed=True, spaces="tiny.sentence.model")
    assert len(near) == 1
    _check_token_counts(root, sentences, checkpoint)


def _check_token_counts(root, sentences, checkpoint):
    """Compare the numbers of tokens behind each prompt with transformers; counted anew they are the
    same.
    """
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    texts = dict(Store(root).sql("SELECT item_id, text FROM items").fetchall())
    counts = columns(root)
    prompts = {"n_tokens.tiny.sentence.model": "find: ", "n_tokens.documents": ""}
    assert counts.keys() == prompts.keys()
    for name, prompt in prompts.items():
        assert counts[name].keys() == texts.keys()
        for item, n_tokens in counts[name].items():
            encoded = tokenizer(prompt + texts[item], return_offsets_mapping=True, truncation=True)
            assert n_tokens == sum(
                end > max(start, len(prompt)) for start, end in encoded["offset_mapping"]
            )
    Store(root).remove(columns=[*counts])
    build(root, sentences, checkpoint, prompt="query")
    build(root, sentences, checkpoint, prompt="", name="documents")
    assert columns(root) == counts


def test_another_recipe_under_the_same_name_is_refused(tmp_path, sentences, checkpoint):
    copy, root = tmp_path / "tiny", tmp_path / "store"
    shutil.copytree(checkpoint, copy)
    build(root, sentences, copy)
    write_json(copy / "sentence_bert_config.json", {"max_seq_length": 8})
    with pytest.raises(SpaceMismatchError, match=r"its recipe.max_seq_length is null, not 8"):
        build(root, sentences, copy)
    with pytest.raises(
        CheckpointError, match=r"the recipe of the checkpoint .* is not the one that made"
    ):
        Store(root).neighbours("a new text", k=1, embed=True)
    (copy / "modules.json").unlink()
    with pytest.raises(UsageError, match="declares no recipe of its own"):
        build(root, sentences, copy, poolings="model")


def test_a_recipe_that_cannot_be_followed(tmp_path, sentences, checkpoint):
    copy = tmp_path / "tiny"
    shutil.copytree(checkpoint, copy)
    modules = json.loads((copy / "modules.json").read_text())
    write_json(copy / "modules.json", [*modules, {"path": "3_LSTM", "type": f"{OLD}LSTM"}])
    with pytest.raises(
        CheckpointError, match=r"recipe of 'tiny' \(modules.json\): its module 'LSTM' is not one of"
    ):
        build(tmp_path / "store", sentences, copy, poolings="model")
    report = build(tmp_path / "store", sentences, copy)
    assert [space.space for space in report.spaces] == ["tiny.sentence.mean"]
    assert "its module 'LSTM'" in report.notes[0]
    assert report.notes[0].endswith("The default is mean.")


def test_untrained_models_have_no_trained_modules(tmp_path, sentences, checkpoint):
    report = build(tmp_path / "store", sentences, checkpoint, untrained=0)
    assert [space.space.endswith(".sentence.model") for space in report.spaces] == [True]
    copy = Path(shutil.copytree(checkpoint, tmp_path / "tiny"))
    modules = json.loads((copy / "modules.json").read_text())
    write_json(copy / "modules.json", [*modules, {"path": "3_Dense", "type": f"{OLD}Dense"}])
    write_json(copy / "3_Dense/config.json", {"in_features": 32, "out_features": 4})
    (copy / "3_Dense/pytorch_model.bin").write_bytes(b"")
    with pytest.raises(
        CheckpointError,
        match=r"with untrained weights: the weights of its module Dense are trained",
    ):
        build(tmp_path / "store", sentences, copy, untrained=0, poolings="model")
    with pytest.raises(
        CheckpointError, match=r"a pickle, which can run code when it is loaded.*allow_pickle=True"
    ):
        build(tmp_path / "other", sentences, copy)


def test_a_dry_run_and_the_treatment_of_long_texts(tmp_path, sentences, checkpoint):
    plan = build(tmp_path / "store", sentences, checkpoint, dry_run=True)
    assert (plan.spaces[0].space, plan.spaces[0].truncated) == ("tiny.sentence.model", 1)
    assert len(plan.notes) == 1
    report = build(
        tmp_path / "store", sentences, checkpoint, long="skip", poolings=["mean", "model"]
    )
    assert [(sum(space.skipped.values()), space.truncated) for space in report.spaces] == [
        (1, 0),
        (1, 0),
    ]
    report = build(tmp_path / "store", sentences, checkpoint, poolings=["mean", "model"])
    assert [(sum(space.skipped.values()), space.truncated) for space in report.spaces] == [
        (1, 0),
        (0, 1),
    ]


@pytest.mark.parametrize(("make", "blanks"), [(t5, ["▁"]), (bert, None)])
def test_the_card_names_the_blanks_that_first_and_mean_leave_out(tmp_path, sentences, make, blanks):
    root, folder = tmp_path / "store", make(tmp_path / "base")
    for pooling in ("first", "mean"):  # the second takes them from the card of the first
        build(root, sentences, folder, poolings=pooling)
        assert card(root, f"tiny.sentence.{pooling}").get("blanks") == blanks


def test_a_recipe_pools_all_tokens_and_its_card_names_no_blanks(tmp_path, sentences):
    folder = old_layout(tmp_path / "tiny", t5(tmp_path / "base"), ["mean"])
    build(tmp_path / "store", sentences, folder)
    assert "blanks" not in card(tmp_path / "store", "tiny.sentence.model")
