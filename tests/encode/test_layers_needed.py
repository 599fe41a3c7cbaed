"""A build of some layers runs the blocks up to the highest one, and gives the same vectors."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from architecture_models import make
from encode_models import TINY
from encode_texts import TEXTS, passage
from test_architectures import ACCEPTED
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from embstore.base.space import Pooling
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder

# Blocks are called more than once, or are in several lists.
WHOLE = {"albert", "dory", "hrm_text"}


def encoded(encoder, layers):
    """Return the vectors of some texts at layers (layers, n, dim), in the order of the texts."""
    given = [passage(text, n) for n, text in enumerate(TEXTS)]
    chosen = encoder.layers.select_stored(layers)
    results = [*encoder.encode([given], poolings=[Pooling.MEAN], layers=chosen)]
    order = np.argsort(np.concatenate([result.item_ids for result in results]))
    return np.concatenate([result.vectors[Pooling.MEAN] for result in results], axis=1)[:, order]


def check(encoder):
    """Compare builds of some layers with one of all; return the blocks that run for each layer."""
    n = encoder.layers.n_blocks
    whole = encoded(encoder, "all")

    def is_equal(part, layers):
        difference = np.linalg.norm(part - whole[layers], axis=-1)
        return bool((difference <= 1e-6 * np.linalg.norm(whole[layers], axis=-1)).all())

    for layers in ([layer] for layer in range(n)):
        assert is_equal(encoded(encoder, str(layers[0])), layers), layers
    assert is_equal(encoded(encoder, f"0,{n}"), [0, n])
    assert is_equal(encoded(encoder, f"0-{n - 1}"), list(range(n)))
    assert np.array_equal(encoded(encoder, "all"), whole)  # the model itself is as it was
    return [encoder._for_layers((layer,))[1].n_blocks for layer in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_some_layers_are_those_of_all(tiny, name):
    n_run = check(tiny(name))
    assert n_run[0] <= 1
    assert n_run[1:] == [1, 2]


def test_the_blocks_above_do_not_run(tiny):
    encoder = tiny("bert")
    encoded(encoder, "1")  # the model without them is made and checked
    calls = []
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: calls.append(module) if type(module).__name__ == "BertLayer" else None
    )
    try:
        encoded(encoder, "1")
        n_short = len(calls)
        encoded(encoder, "all")
    finally:
        handle.remove()
    assert n_short > 0
    assert len(calls) == 4 * n_short


def test_a_model_whose_states_would_differ_runs_as_a_whole(tiny, monkeypatch):
    """As one that changes every state behind its last block."""
    encoder = tiny("llama")
    forward = type(encoder._contract).forward

    def changed(self, model, inputs):
        states, last = forward(self, model, inputs)
        is_short = self.n_blocks < 3
        return [state * (1 + 2e-6 * is_short) for state in states], last

    monkeypatch.setattr(type(encoder._contract), "forward", changed)
    monkeypatch.setattr(encoder, "_shortened", {})
    assert encoder._for_layers((1,))[0] is encoder._model


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ACCEPTED)
def test_every_layout(model_type, tmp_path):
    if model_type not in MODEL_MAPPING_NAMES:
        pytest.skip(f"this transformers has no {model_type}")
    encoder = Encoder(resolve(str(make(tmp_path / "tiny", model_type))), device="cpu")
    n_run = check(encoder)
    n = encoder.layers.n_blocks
    # Hidden states that begin behind the first block are those of the whole model.
    is_whole = model_type in WHOLE or encoder._contract.entry is not None
    expected = [n] * n if is_whole else [1, *range(1, n)]
    assert all(run <= most for run, most in zip(n_run, expected, strict=True)), n_run
    assert (n_run == [n] * n) == is_whole
