"""Recipes that are damaged, hostile or beyond what embstore follows: each is refused with its place
and reason.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from encode_models import bert
from recipe_checkpoints import OLD, TEXTS, old_layout, outputs, write_json
from safetensors.torch import save_file

from embstore.base.errors import CheckpointError, UsageError
from embstore.encode.recipe import module_paths, read_recipe


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipes")
    folder = old_layout(
        root / "tiny", bert(root / "bert"), ["mean"], modules=["Dense", "Normalize"]
    )
    write_json(folder / "2_Dense/config.json", {"in_features": 32, "out_features": 4})
    generator = torch.Generator().manual_seed(0)
    weights = {
        "linear.weight": torch.randn(4, 32, generator=generator),
        "linear.bias": torch.zeros(4),
    }
    save_file(weights, folder / "2_Dense/model.safetensors")
    return folder


@pytest.fixture
def copy(checkpoint, tmp_path):
    return Path(shutil.copytree(checkpoint, tmp_path / "tiny"))


def change(folder, file, **settings):
    path = folder / file
    document = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, {**document, **settings})


def add_module(kind, path="4_More"):
    def add(folder):
        modules = json.loads((folder / "modules.json").read_text())
        write_json(folder / "modules.json", [*modules, {"path": path, "type": kind}])

    return add


def set_(file, **settings):
    return lambda folder: change(folder, file, **settings)


BERT, DENSE, POOLING, SETTINGS = (
    "sentence_bert_config.json", "2_Dense/config.json", "1_Pooling/config.json",
    "config_sentence_transformers.json",
)  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *(
            (
                add_module(f"{OLD}{kind}"),
                f"its module '{kind}' is not one of Transformer, Pooling, Dense",
            )
            for kind in ("CNN", "LSTM", "WeightedLayerPooling", "Router", "StaticEmbedding")
        ),
        (
            add_module("modeling.MyHead"),
            "'modeling.MyHead' is code of its own, which embstore never runs",
        ),
        (add_module("os.system"), "'os.system' is code of its own"),
        (
            add_module(f"{OLD}Dense", "../other"),
            r"names the folder '../other': a module is in a subfolder",
        ),
        (add_module(f"{OLD}Dense", "/etc"), r"names the folder '/etc'"),
        (add_module(f"{OLD}Dense", "a/../../b"), r"names the folder 'a/../../b'"),
        (
            lambda folder: (folder / "modules.json").write_text("[1]"),
            "is not a list of modules with type and path: 1",
        ),
        (
            lambda folder: (folder / "modules.json").write_text("{"),
            r"modules.json cannot be read as JSON",
        ),
        (
            lambda folder: (folder / "modules.json").write_text("[" * 9999),
            r"modules.json cannot be read as JSON",
        ),
        (
            lambda folder: (folder / "modules.json").write_text(" " * (5 << 20)),
            "it is larger than 4,096 KiB",
        ),
        (
            lambda folder: (folder / SETTINGS).write_text("[" * 900 + "]" * 900),
            "json cannot .* nested too deeply",
        ),
        (
            lambda folder: (folder / POOLING).write_text('{"a":' * 900 + "1" + "}" * 900),
            "json cannot .* nested too",
        ),
        (
            lambda folder: write_json(
                folder / "modules.json", [{"path": "", "type": f"{OLD}Pooling"}]
            ),
            "its modules are Pooling, not Transformer, Pooling",
        ),
        (lambda folder: write_json(folder / "modules.json", {"a": 1}), "is not a list of modules"),
        (set_(SETTINGS, model_type="SparseEncoder"), "it is of a SparseEncoder"),
        (set_(SETTINGS, prompts=["query"]), "its prompts are no texts by name"),
        (
            set_(SETTINGS, default_prompt_name="query"),
            "its default prompt 'query' is not among its prompts",
        ),
        (set_(SETTINGS, truncate_dim=0), "its truncate_dim is 0"),
        (
            set_(POOLING, pooling_mode="median"),
            r"its pooling mode is \['median'\]; known are cls, max, mean",
        ),
        (set_(POOLING, word_embedding_dimension="32"), "its embedding dimension is '32'"),
        (set_(BERT, max_seq_length=0), "its max_seq_length is 0"),
        (set_(BERT, transformer_task="fill-mask"), "its Transformer is for the task 'fill-mask'"),
        (
            set_(BERT, model_args={"layer_norm_eps": 1}),
            r"has the setting 'layer_norm_eps' \(model_kwargs\)",
        ),
        (
            set_(BERT, processing_kwargs={"text": {"max_length": 3}}),
            "has the setting 'processing_kwargs'",
        ),
        (
            set_(BERT, module_output_name="sentence_embedding"),
            "reads chat messages or gives no vectors of tokens",
        ),
        (
            set_(DENSE, activation_function="os.system"),
            r"the activation of its Dense is 'os.system'",
        ),
        (set_(DENSE, activation_function="torch.nn.modules.activation.Tan"), r"known are Tanh"),
        (set_(DENSE, activation_function="torch.nn.Softmax2d"), r"the activation of its Dense"),
        (
            set_(DENSE, in_features=31),
            "its module Dense reads 31 dimensions, and the one before gives 32",
        ),
        (set_(DENSE, out_features=True), "its out_features of Dense is True"),
        (
            set_(DENSE, module_input_name="token_embeddings"),
            "its module Dense does not read and give the vector of",
        ),
        (
            lambda folder: (folder / "2_Dense/model.safetensors").unlink(),
            "its module Dense has no weights",
        ),
    ],
)
def test_what_is_refused(copy, spoil, message):
    spoil(copy)
    with pytest.raises(CheckpointError, match=message):
        read_recipe(copy, "tiny")


def test_a_checkpoint_without_a_recipe_has_none(copy):
    assert module_paths(copy) == ["1_Pooling", "2_Dense", "3_Normalize"]
    (copy / "modules.json").unlink()
    assert (read_recipe(copy, "tiny"), module_paths(copy)) == (None, [])


def test_harmless_settings_and_modules_are_passed_over(copy, checkpoint):
    change(
        copy,
        BERT,
        model_args={"add_pooling_layer": False, "torch_dtype": "bfloat16"},
        tokenizer_args={},
    )
    change(copy, SETTINGS, prompts={"query": None}, truncate_dim=4, similarity_fn_name="dot")
    add_module(f"{OLD}Dropout")(copy)
    expected = read_recipe(checkpoint, "tiny").to_document()
    assert read_recipe(copy, "tiny").to_document() == expected
    assert expected["modules"][0] == {
        "type": "Dense",
        "in_features": 32,
        "out_features": 4,
        "bias": True,
        "activation": "Tanh",
        "residual": False,
        "weights_sha256": expected["modules"][0]["weights_sha256"],
    }
    assert str(read_recipe(copy, "tiny")) == "mean, Dense 4 (Tanh), Normalize"


def test_the_same_recipe_in_both_layouts_is_one(copy, checkpoint):
    write_json(copy / "1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": "mean"})
    modules = json.loads((copy / "modules.json").read_text())
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        module["type"] = f"sentence_transformers.sentence_transformer.modules.{kind.lower()}.{kind}"
    write_json(copy / "modules.json", modules)
    assert read_recipe(copy, "tiny").to_document() == read_recipe(checkpoint, "tiny").to_document()


def test_weights_of_another_shape_or_name(copy):
    assert np.isfinite(outputs(copy, TEXTS[:1])).all()
    save_file(
        {"linear.weight": torch.zeros(4, 31), "linear.bias": torch.zeros(4)},
        copy / "2_Dense/model.safetensors",
    )
    with pytest.raises(
        CheckpointError, match=r"module Dense of 'tiny' \(.*\) have the shapes .*\(4, 31\).* says"
    ):
        outputs(copy, TEXTS[:1])
    (copy / "2_Dense/model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"cannot be loaded: .* Download them again"):
        outputs(copy, TEXTS[:1])


def test_a_recipe_for_another_model(copy):
    change(copy, POOLING, word_embedding_dimension=16)
    change(copy, DENSE, in_features=16)
    with pytest.raises(CheckpointError, match=r"vectors of 16 dimensions, and its model gives 32"):
        outputs(copy, TEXTS[:1])


def test_prompts_of_a_recipe_without_any(copy):
    recipe = read_recipe(copy, "tiny")
    with pytest.raises(
        UsageError, match=r"no prompt 'query': 'tiny' has no prompts .* with a template"
    ):
        recipe.prompt("query", "tiny")
