"""Text towers, encoders and language models out of whole checkpoints, as they are published."""

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers as tf
from architecture_models import config_of, tokenizer
from encode_texts import passage, run
from safetensors.torch import load_file, save_file

from embstore.base.errors import CheckpointError
from embstore.base.space import Pooling, Template, Unit
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.records import Weights

pytestmark = pytest.mark.slow

TEXTS = ("The quick brown fox", "a dog", "She sells sea shells by the sea shore")

# Class that such checkpoints are saved in; class of the part; whether it is causal.
WHOLE = {
    "bart": ("BartForConditionalGeneration", "BartEncoder", False),
    "gemma3": ("Gemma3ForConditionalGeneration", "Gemma3TextModel", True),
    "mbart": ("MBartForConditionalGeneration", "MBartEncoder", False),
    "m2m_100": ("M2M100ForConditionalGeneration", "M2M100Encoder", False),
    "metaclip_2": ("MetaClip2Model", "MetaClip2TextModelWithProjection", True),
    "qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLTextModel", True),
    "siglip": ("SiglipModel", "SiglipTextModel", False),
    "t5gemma": ("T5GemmaForConditionalGeneration", "T5GemmaEncoder", False),
    "t5gemma2": ("T5Gemma2ForConditionalGeneration", "T5Gemma2TextEncoder", False),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    return cache(lambda name: _write(root / name, name))


def _write(folder, name):
    words = tokenizer()
    torch.manual_seed(0)
    model = getattr(tf, WHOLE[name][0])(config_of(name, len(words)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _plain(folder, name, text):
    """Return the states that the whole published model gives for a text alone, without images:
    encoder or decoder.
    """
    model = getattr(tf, WHOLE[name][0]).from_pretrained(folder, dtype=torch.float32).eval()
    ids = tf.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            outputs = model(input_ids=ids, decoder_input_ids=ids[:, :1], output_hidden_states=True)
            return [state[0].numpy() for state in outputs.encoder_hidden_states]
        if hasattr(model, "text_model"):
            model = model.text_model
        return [
            state[0].numpy()
            for state in model(input_ids=ids, output_hidden_states=True).hidden_states
        ]


@pytest.mark.parametrize("name", WHOLE)
def test_each_layer_is_what_the_published_model_gives(whole, name):
    folder = whole(name)
    encoder = Encoder(resolve(str(folder)), device="cpu")
    assert (encoder.architecture, encoder.tokenizer.causal) == WHOLE[name][1:]
    assert encoder.tokenizer.max_tokens == 64
    found, skipped = run(encoder, [passage(text, n) for n, text in enumerate(TEXTS)], Pooling.MEAN)
    assert not skipped
    for n, text in enumerate(TEXTS):
        states = _plain(folder, name, text)
        assert len(states) == encoder.layers.n_blocks + 1
        for mine, state in zip(found[n], states, strict=False):
            expected = state[1:-1].mean(axis=0)
            assert np.linalg.norm(mine - expected) <= 1e-4 * np.linalg.norm(expected)


def test_metaclip_has_the_projection_of_transformers(whole):
    folder = whole("metaclip_2")
    encoder = Encoder(resolve(str(folder)), device="cpu")
    assert Pooling.PROJECTION in encoder.tokenizer.poolings_of(Unit.SENTENCE, Template())
    found, _ = run(encoder, [passage(TEXTS[0])], Pooling.PROJECTION)
    model = tf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = tf.AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        features = model.get_text_features(input_ids=inputs.input_ids)
    expected = getattr(features, "pooler_output", features)[0].numpy()
    assert np.linalg.norm(found[1][0] - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize(("name", "part"), [("bart", "encoder"), ("gemma3", "language_model")])
def test_weights_that_the_part_lacks_are_named_and_others_are_not_needed(
    whole, tmp_path, name, part
):
    folder = Path(shutil.copytree(whole(name), tmp_path / name))
    weights = load_file(folder / "model.safetensors")
    unread = {k: v for k, v in weights.items() if "decoder.layers.0" not in k and "vision" not in k}
    assert len(unread) < len(weights)
    save_file(unread, folder / "model.safetensors", metadata={"format": "pt"})
    found, expected = (
        run(Encoder(resolve(str(place)), device="cpu"), [passage("a dog")])[0][1]
        for place in (folder, whole(name))
    )
    assert np.array_equal(found, expected)
    without = {k for k in weights if part in k and ".layers.1." in k}
    assert without
    save_file({k: v for k, v in weights.items() if k not in without}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lack .*layers\.1.*would be random"):
        Encoder(resolve(str(folder)), device="cpu")


def test_parts_in_16_bits_and_untrained(whole):
    for name in ("bart", "siglip", "gemma3"):
        checkpoint = resolve(str(whole(name)))
        wide, narrow, untrained = (
            run(Encoder(checkpoint, device="cpu", weights=weights), [passage("a dog")])[0][1]
            for weights in (Weights(), Weights("bfloat16"), Weights(untrained=1))
        )
        assert 0 < np.linalg.norm(wide - narrow) < 0.05 * np.linalg.norm(wide)
        assert not np.allclose(wide, untrained, atol=0.01)


def test_the_encoder_of_t5_alone(tmp_path):
    words = tokenizer()
    config = config_of("t5", len(words))
    torch.manual_seed(0)
    tf.T5EncoderModel(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["is_encoder_decoder"] is False
    encoder = Encoder(resolve(str(tmp_path)), device="cpu")
    assert (encoder.architecture, encoder.tokenizer.max_tokens) == ("T5EncoderModel", None)


def test_a_tower_by_itself(whole, tmp_path):
    tf.SiglipTextModel.from_pretrained(whole("siglip")).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    found, expected = (
        run(Encoder(resolve(str(place)), device="cpu"), [passage("a dog")])[0][1]
        for place in (tmp_path, whole("siglip"))
    )
    assert np.array_equal(found, expected)
