"""Which checkpoints are refused, and how."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers as tf
from architecture_models import make
from encode_texts import passage, run
from safetensors.torch import load_file, save_file

from embstore.base.errors import CheckpointError, UsageError
from embstore.base.space import Pooling, Template, Unit
from embstore.encode import models as models_module
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.records import Weights
from embstore.encode.tokens import Tokenizer


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop(folder, part):
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if part not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def test_clip_without_a_projection_has_no_such_pooling(copy):
    folder = copy("clip")
    drop(folder, "text_projection.weight")
    encoder = Encoder(resolve(str(folder)), device="cpu")
    assert Pooling.PROJECTION not in encoder.tokenizer.poolings_of(Unit.SENTENCE, Template())
    assert Pooling.EOS in encoder.tokenizer.poolings_of(Unit.SENTENCE, Template())


def test_weights_of_another_size_are_refused(copy):
    folder = copy("bert")
    edit(folder, hidden_size=64)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Encoder(resolve(str(folder)), device="cpu")


def test_a_tokenizer_of_another_model_is_refused(copy):
    folder = copy("bert")
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if "word_embeddings" in name or "predictions" in name]:
        if "word_embeddings" in name:
            weights[name] = weights[name][:20].clone()
        else:
            del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, vocab_size=20)
    with pytest.raises(CheckpointError, match="do not belong together"):
        Encoder(resolve(str(folder)), device="cpu")


def test_pickles_only_when_allowed(copy, tiny):
    folder = copy("bert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="allow_pickle=True"):
        resolve(str(folder))
    checkpoint = resolve(str(folder), allow_pickle=True)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Encoder(checkpoint, device="cpu")
    vectors, _ = run(Encoder(checkpoint, device="cpu", allow_pickle=True), [passage("cat")])
    expected, _ = run(tiny("bert"), [passage("cat")])
    assert (vectors[1] == expected[1]).all()


def test_a_slow_or_damaged_tokenizer_is_refused(copy, monkeypatch):
    folder = copy("bert")
    with monkeypatch.context() as patch:
        patch.setattr(tf.BertTokenizer, "is_fast", property(lambda self: False))
        with pytest.raises(
            CheckpointError, match=r"only a slow tokenizer \(BertTokenizer\).*fast one"
        ):
            Tokenizer.load(resolve(str(folder)))
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(
        CheckpointError, match=r"the tokenizer of 'bert'.*[^.]\. embstore needs .*tokenizer\.json"
    ):
        Tokenizer.load(resolve(str(folder)))


def test_a_pair_of_tokenizers_is_refused(copy):
    folder = copy("bert")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"tokenizer_class": "RagTokenizer"}
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"only a slow tokenizer \(RagTokenizer\)"):
        Tokenizer.load(resolve(str(folder)))


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_a_tokenizer_without_its_vocabulary_is_refused(copy, kind):
    # transformers makes one of special tokens alone, with which all words have one vector.
    folder = copy(kind)
    (folder / "tokenizer.json").unlink()
    made = tf.AutoTokenizer.from_pretrained(folder)
    assert made("dog cat").input_ids == made("cat dog").input_ids
    with pytest.raises(
        CheckpointError, match=rf"tokenizer of '{kind}' in .* has no vocabulary.*no tokenizer\.json"
    ):
        Tokenizer.load(resolve(str(folder)))


REMOTE = {
    "model_type": "evil",
    "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", r"config\.json cannot be read as JSON: Expecting property name"),
        *(
            (config, "the config of 'bert'")
            for config in ("[]", '{"model_type": "no-such-architecture"}', "{}")
        ),
        *(
            (f'{{"model_type": "{kind}"}}', f"is a '{kind}' model, which is not a text model")
            for kind in ("whisper", "vit", "flava")
        ),
        (json.dumps(REMOTE), "never runs"),
    ],
)
def test_a_config_of_something_else_is_refused_and_its_code_is_not_run(copy, config, message):
    folder = copy("bert")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=message):
        Encoder(resolve(str(folder)), device="cpu")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gpt2", {"n_layer": 10_000_000}),
        ("gpt2", {"n_layer": 4097}),
        ("bert", {"num_hidden_layers": 10_000_000}),
        ("t5", {"num_layers": 10_000_000}),
        ("t5", {"num_decoder_layers": 10_000_000}),
        ("clip", {"text_config": {"num_hidden_layers": 10_000_000}}),
        ("bert", {"block_sizes": [1, 10_000_000], "model_type": "funnel"}),
        ("bert", {"inner_group_num": 10_000_000, "model_type": "albert"}),
    ],
)
def test_a_config_of_too_many_layers_is_refused_before_anything_is_made(
    copy, monkeypatch, name, changes
):
    folder = copy(name)
    edit(folder, **changes)
    monkeypatch.setattr(
        tf.AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("the config was loaded")
    )
    for weights in (Weights(), Weights(untrained=0)):
        with pytest.raises(
            CheckpointError,
            match=r"config\.json states (4,097|10,000,000) layers, .* of up to 4,096\.",
        ):
            Encoder(resolve(str(folder)), device="cpu", weights=weights)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", r"config\.json cannot be read as JSON: it is nested too deeply"),
        ("tokenizer_config.json", "cannot be read as JSON"),
        ("tokenizer.json", "the tokenizer of .* cannot be loaded"),
        ("model.safetensors", "the weights of .* cannot be loaded"),
        (
            "model.safetensors.index.json",
            r"index\.json cannot be read as JSON: it is nested too deeply",
        ),
        (
            "adapter_config.json",
            r"adapter_config\.json cannot be read as JSON: it is nested too deeply",
        ),
    ],
)
def test_deep_json_in_a_checkpoint_is_refused(copy, name, message):
    folder, deep = copy("gpt2"), b'{"a":' * 900 + b"1" + b"}" * 900
    if name in ("model.safetensors.index.json", "adapter_config.json"):
        (folder / "model.safetensors").unlink()
    header = len(deep).to_bytes(8, "little") if name == "model.safetensors" else b""
    (folder / name).write_bytes(header + deep)
    with pytest.raises(CheckpointError, match=message):
        Encoder(resolve(str(folder)), device="cpu")


def test_a_model_that_padding_disturbs_is_never_padded(copy, monkeypatch):
    checkpoint = resolve(str(copy("bert")))
    load = models_module.load_model

    def without_mask(*args, **kwargs):
        model, has_projection = load(*args, **kwargs)
        kind, forward = type(model), type(model).forward
        monkeypatch.setattr(
            kind, "forward", lambda self, **k: forward(self, **(k | {"attention_mask": None}))
        )
        return model, has_projection

    monkeypatch.setattr("embstore.encode.forward.load_model", without_mask)
    encoder = Encoder(checkpoint, device="cpu")
    assert not encoder._contract.pads
    given = [passage(" ".join(["cat"] * n), n) for n in range(20, 30)]
    assert len(list(encoder.encode([given], poolings=[Pooling.LAST], batch_tokens=9999))) == 10


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta:7:7"])
def test_an_unknown_device_is_refused(copy, device):
    with pytest.raises(UsageError, match=r"device=.cpu"):
        Encoder(resolve(str(copy("bert"))), device=device)


def test_loading_is_silent_and_leaves_the_settings_alone(copy, capfd):
    from transformers.utils import logging

    folder = copy("gpt2")
    edit(folder, architectures=["GPT2Model"])
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    encoder = Encoder(resolve(str(folder)), device="cpu")
    list(encoder.encode([[passage("cat " * 2000)]], poolings=[Pooling.LAST]))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert encoder.versions["torch"] == torch.__version__


def test_gpt2s_activation_is_one_operation_and_the_same_function(tiny):
    from transformers.activations import NewGELUActivation

    model = tiny("gpt2")._model
    assert not model.config.use_cache
    fused = model.h[0].mlp.act
    assert not isinstance(fused, NewGELUActivation)
    x = torch.linspace(-12, 12, 10_001)
    torch.testing.assert_close(fused(x), NewGELUActivation()(x), rtol=1e-5, atol=1e-6)


def test_the_positions_of_a_config_are_the_limit_whatever_it_calls_them(tmp_path):
    encoder = Encoder(resolve(str(make(tmp_path / "mpt", "mpt", max_seq_len=16))), device="cpu")
    assert encoder.tokenizer.max_tokens == 16
    vectors, skipped = run(encoder, [passage("cat " * 40, 1), passage("cat", 2)])
    assert vectors.keys() == {2}
    assert [s.reason.partition(" tokens, ")[2] for s in skipped] == [
        "the context of 'mpt' holds 16"
    ]
    vectors, _ = run(encoder, [passage("cat " * 40, 1)], long="truncate")
    assert vectors.keys() == {1}


def test_a_text_beyond_an_unstated_limit_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr("embstore.encode.models._POSITIONS", ())
    for model_type in ("mpt", "gpt2", "bert"):
        encoder = Encoder(resolve(str(make(tmp_path / model_type, model_type))), device="cpu")
        assert encoder.tokenizer.max_tokens is None
        vectors, skipped = run(
            encoder, [passage("cat " * 100, 1), passage("cat", 2), passage("dog " * 99, 3)]
        )
        assert vectors.keys() == {2}
        assert {s.item_id for s in skipped} == {1, 3}
        assert all(s.reason.startswith("the model fails at this text: ") for s in skipped)
