"""Pooling ``model`` against sentence-transformers itself, for every pooling mode and module."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import transformers as tf
from architecture_models import config_of, tokenizer
from encode_models import bert, llama, roberta, save, t5
from recipe_checkpoints import (
    TEXTS,
    configure_tokenizer,
    encoded,
    old_layout,
    outputs,
    saved,
    witness,
    write_json,
)

from embstore.base.errors import CheckpointError, UnknownNameError, UsageError
from embstore.base.space import Pooling, Template, Unit, parse_pooling
from embstore.encode.checkpoint import fingerprint, resolve
from embstore.encode.forward import Encoder
from embstore.encode.recipe import read_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("sentence_transformers") is None, reason="sentence_transformers is not installed"
    ),
]

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
ATOL = 1e-5


@pytest.fixture(scope="module")
def parts():
    """The modules of sentence-transformers, which take a second to load."""
    from sentence_transformers.sentence_transformer import modules

    return modules


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return bert(tmp_path_factory.mktemp("base") / "bert")


def test_modes_are_concatenated_in_the_order_of_the_package_and_of_the_new_layout(
    base, parts, tmp_path
):
    folder = old_layout(tmp_path / "tiny", base, MODES, modules=["Normalize"])
    found = outputs(folder, TEXTS)
    assert found.shape == (len(TEXTS), 6 * 32)
    np.testing.assert_allclose(found, witness(folder, TEXTS), atol=ATOL)
    folder = saved(tmp_path / "new", base, parts.Pooling(32, ("lasttoken", "cls", "max")))
    assert read_recipe(folder, "tiny").modes == ("lasttoken", "cls", "max")
    np.testing.assert_allclose(outputs(folder, TEXTS), witness(folder, TEXTS), atol=ATOL)


def test_a_model_in_a_subfolder_as_the_first_releases_saved_it(base, tmp_path):
    folder = old_layout(tmp_path / "tiny", base, ["mean", "max"])
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write_json(folder / "modules.json", modules)
    (folder / "0_Transformer").mkdir()
    for file in [
        file for file in folder.iterdir() if file.is_file() and file.name != "modules.json"
    ]:
        file.rename(folder / "0_Transformer" / file.name)
    write_json(
        folder / "0_Transformer/sentence_bert_config.json",
        {"max_seq_length": 5, "do_lower_case": True},
    )
    found = resolve(str(folder))
    assert (found.name, found.id, found.folder) == ("tiny", str(folder), folder / "0_Transformer")
    assert fingerprint(found) == fingerprint(resolve(str(base)))
    np.testing.assert_allclose(outputs(folder, TEXTS), witness(folder, TEXTS), atol=ATOL)
    (folder / "config.json").write_text("{}")
    with pytest.raises(
        CheckpointError, match=r"in the subfolder '0_Transformer', and there is another beside it"
    ):
        read_recipe(folder, "tiny")


def test_layers_are_pooled_alike_and_the_output_is_a_layer_of_its_own(base, parts, tmp_path):
    folder = saved(
        tmp_path / "tiny", base, parts.Pooling(32, ("max", "weightedmean")), parts.Normalize()
    )
    encoder = Encoder(resolve(str(folder)), device="cpu")
    layers = encoder.layers_of(Pooling.MODEL)
    assert (layers.names, layers.select("top").names) == (
        ("0", "1", "2", "3", "output"),
        ("output",),
    )
    vectors, _ = encoded(encoder, TEXTS)
    inputs = encoder.tokenizer._hf(TEXTS[1], return_tensors="pt")
    with torch.no_grad():
        states = encoder._model(**inputs, output_hidden_states=True).hidden_states
    for layer, state in enumerate(states):
        weights = torch.arange(1, state.shape[1] + 1)[:, None]
        wanted = torch.cat([state[0].amax(0), (state[0] * weights).sum(0) / weights.sum()])
        np.testing.assert_allclose(vectors[1][layer], wanted, atol=ATOL)
    np.testing.assert_allclose(np.linalg.norm(vectors[1][4]), 1, atol=ATOL)


@pytest.mark.parametrize(("out_features", "safe"), [(32, True), (8, False)])
def test_dense_and_normalize(base, parts, tmp_path, out_features, safe):
    modules = (
        parts.Pooling(32, "mean"),
        parts.Dense(32, 64, bias=False, activation_function=torch.nn.GELU()),
        parts.Dense(64, out_features, activation_function=torch.nn.Identity(), use_residual=True),
        parts.LayerNorm(out_features),
        parts.Normalize(),
    )
    folder = saved(tmp_path / "tiny", base, *modules, safe=True)
    if not safe:
        for file in folder.glob("*_*/model.safetensors"):
            from safetensors.torch import load_file

            torch.save(load_file(file), file.with_name("pytorch_model.bin"))
            file.unlink()
        with pytest.raises(
            CheckpointError, match=r"a pickle, which can run code .*allow_pickle=True"
        ):
            outputs(folder, TEXTS)
    found = outputs(folder, TEXTS, allow_pickle=not safe)
    np.testing.assert_allclose(found, witness(folder, TEXTS), atol=ATOL)
    encoder = Encoder(resolve(str(folder)), device="cpu", allow_pickle=True)
    assert encoder.dim_of(Pooling.MODEL) == out_features
    names = encoder.layers_of(Pooling.MODEL).names
    assert names == (("0", "1", "2", "3", "output") if out_features == 32 else ("output",))


def test_the_default_activation_is_tanh_and_outputs_are_truncated(base, parts, tmp_path):
    folder = saved(
        tmp_path / "tiny",
        base,
        parts.Pooling(32),
        parts.Dense(32, 16),
        parts.Normalize(),
        truncate_dim=5,
    )
    config = folder / "2_Dense/config.json"
    config.write_text(config.read_text().replace('"activation_function"', '"unread"'))
    found = outputs(folder, TEXTS)
    assert found.shape[1] == 5
    np.testing.assert_allclose(found, witness(folder, TEXTS), atol=ATOL)


@pytest.mark.parametrize(("mode", "include"), [*((mode, False) for mode in MODES), ("mean", True)])
def test_prompts(base, parts, tmp_path, mode, include):
    folder = saved(
        tmp_path / "tiny",
        base,
        parts.Pooling(32, mode, include_prompt=include),
        prompts={"query": "search for: ", "empty": ""},
        default_prompt_name="query",
    )
    recipe = read_recipe(folder, "tiny")
    assert recipe.prompt(None, "tiny") == recipe.prompt("query", "tiny") == "search for: "
    assert (
        recipe.prompt("", "tiny")
        == recipe.prompt("empty", "tiny")
        == recipe.prompt("document", "tiny")
        == ""
    )
    with pytest.raises(UnknownNameError, match=r"unknown prompt 'qery'. Did you mean 'query'"):
        recipe.prompt("qery", "tiny")
    encoder = Encoder(resolve(str(folder)), device="cpu")
    for name in ("query", "empty"):
        vectors, _ = encoded(encoder, TEXTS, recipe.prompt(name, "tiny"))
        found = np.stack([vectors[i][-1] for i in range(len(TEXTS))])
        np.testing.assert_allclose(found, witness(folder, TEXTS, prompt_name=name), atol=ATOL)


@pytest.mark.parametrize(
    ("make", "side"), [(llama, "left"), (llama, "right"), (roberta, "left"), (t5, "left")]
)
def test_other_models_padded_on_either_side(tmp_path, make, side):
    """A text's vector is the one it has alone, wherever a batch is padded."""
    folder = old_layout(
        tmp_path / "tiny",
        make(tmp_path / "base"),
        ["lasttoken", "weightedmean"],
        modules=["Normalize"],
    )
    configure_tokenizer(folder, padding_side=side)
    np.testing.assert_allclose(outputs(folder, TEXTS), witness(folder, TEXTS), atol=ATOL)


@pytest.mark.parametrize("length", [7, None])
def test_long_texts_are_truncated_as_by_the_package(base, tmp_path, length):
    folder = old_layout(tmp_path / "tiny", base, ["mean"])
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": length})
    texts = ["a b c d e f g h i j", "dog", "a b " * 60]
    np.testing.assert_allclose(outputs(folder, texts), witness(folder, texts), atol=ATOL)
    encoder = Encoder(resolve(str(folder)), device="cpu")
    _, skipped = encoded(encoder, texts)
    assert [item.outcome for item in skipped] == ["truncated"] * (2 if length else 1)
    assert f"the context of 'tiny' in its own recipe holds {length or 64}" in skipped[0].reason


def test_lower_case(tmp_path):
    folder = old_layout(tmp_path / "tiny", roberta(tmp_path / "base"), ["mean"])
    configure_tokenizer(folder)
    texts = ["The DOG", "ÜBER alles", "the dog"]
    before = outputs(folder, texts)
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    found = outputs(folder, texts)
    np.testing.assert_allclose(found, witness(folder, texts), atol=ATOL)
    assert np.array_equal(found[0], found[2])
    assert not np.allclose(found[0], before[0])


@pytest.mark.parametrize(
    ("name", "side"), [("siglip", "left"), ("siglip", "right"), ("siglip2", "left")]
)
def test_siglip_pads_texts_as_in_training(tmp_path, name, side):
    """The output is ``get_text_features`` of transformers, for texts padded to the full length,
    without a mask.
    """
    words = tokenizer()
    torch.manual_seed(0)
    kind = {"siglip": tf.SiglipModel, "siglip2": tf.Siglip2Model}[name]
    folder = save(tmp_path / "tiny", kind(config_of(name, len(words))), words)
    configure_tokenizer(folder, padding_side=side)
    words = tf.AutoTokenizer.from_pretrained(folder)
    model = kind.from_pretrained(folder).eval()
    texts = [*TEXTS, "a b c " * 99]
    limit = model.config.text_config.max_position_embeddings
    ids = words(
        texts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        wanted = model.get_text_features(input_ids=ids)
    wanted = getattr(wanted, "pooler_output", wanted)
    np.testing.assert_allclose(outputs(folder, texts), wanted, atol=ATOL)
    encoder = Encoder(resolve(str(folder)), device="cpu")
    _, [cut] = encoded(encoder, texts)
    assert (cut.outcome, encoder.layers_of(Pooling.MODEL).names[-1]) == ("truncated", "output")
    assert read_recipe(folder, "tiny").to_document()["pad_to"] == limit


def test_the_packaged_minilm():
    texts = [*TEXTS, "a long text " * 200]
    folder = resolve("minilm").folder
    found = outputs(folder, texts)
    np.testing.assert_allclose(found, witness(folder, texts), atol=ATOL)


@pytest.mark.parametrize("include", [True, False])
def test_texts_behind_a_prompt_that_fills_the_context_are_truncated_as_by_the_package(
    base, tmp_path, include
):
    """All have the vector of the prompt, or with ``include_prompt`` false that of its last token,
    which is a special one.
    """
    folder = old_layout(tmp_path / "tiny", base, MODES, include_prompt=include)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 4})
    encoder, prompt = Encoder(resolve(str(folder)), device="cpu"), "a b c d e f: "
    vectors, skipped = encoded(encoder, ["dog", "cat"], prompt)
    found = np.stack([vectors[i][-1] for i in range(2)])
    np.testing.assert_allclose(found, witness(folder, ["dog", "cat"], prompt=prompt), atol=ATOL)
    reason = "beyond the cut: 10 tokens, the context of 'tiny' in its own recipe holds 4"
    assert [(each.outcome, each.reason) for each in skipped] == [("truncated", reason)] * 2


def test_a_prompt_without_a_token_behind_it_is_skipped(tmp_path):
    """The package gives zeros, or −∞ by the mode ``max``."""
    folder = old_layout(tmp_path / "tiny", llama(tmp_path / "base"), ["mean"], include_prompt=False)
    configure_tokenizer(folder)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 4})
    vectors, [skipped] = encoded(
        Encoder(resolve(str(folder)), device="cpu"), ["dog"], "a b c d e f: "
    )
    assert (vectors, skipped.outcome) == ({}, "skipped")
    assert skipped.reason == "no tokens behind those of the prompt"
    assert not witness(folder, ["dog"], prompt="a b c d e f: ").any()


def test_poolings_of_a_checkpoint(base, tmp_path):
    plain = Encoder(resolve(str(base)), device="cpu")
    with pytest.raises(
        UsageError, match=r"no pooling 'model': 'bert' declares no recipe of its own"
    ):
        plain.tokenizer.check(Unit.SENTENCE, Pooling.MODEL, Template())
    folder = old_layout(tmp_path / "tiny", base, ["mean"])
    encoder = Encoder(resolve(str(folder)), device="cpu")
    encoder.tokenizer.check(Unit.SENTENCE, Pooling.MODEL, Template())
    with pytest.raises(UsageError, match="encode it by itself"):
        next(encoder.encode([[]], poolings=[Pooling.MODEL, Pooling.MEAN]))
    assert Pooling("cls") is Pooling.BOS
    assert parse_pooling("cls") is Pooling.BOS
