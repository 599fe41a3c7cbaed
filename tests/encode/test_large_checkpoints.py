"""Distribution over devices, adapters and quantized checkpoints: loaded, or refused with what is
missing.
"""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers as tf
from encode_texts import items, passage, passages, run

from embstore.base.errors import CheckpointError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.encode import models
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.records import Weights


@pytest.mark.parametrize(
    ("name", "device_map"), [("gpt2", "balanced"), ("t5", "auto"), ("clip", "auto")]
)
def test_a_distributed_model_gives_the_same_vectors(tiny_folder, tiny, name, device_map):
    pytest.importorskip("accelerate")
    encoder = Encoder(resolve(str(tiny_folder(name))), weights=Weights(device_map=device_map))
    members = items(Unit.SENTENCE)
    found, skipped = run(encoder, passages(members, encoder), batch_tokens=200)
    expected, _ = run(tiny(name), passages(members, tiny(name)), batch_tokens=200)
    assert not skipped
    for item, vectors in expected.items():
        assert (
            np.linalg.norm(found[item] - vectors, axis=1) <= 1e-4 * np.linalg.norm(vectors, axis=1)
        ).all()


def test_a_distributed_model_in_16_bits(tiny_folder):
    pytest.importorskip("accelerate")
    checkpoint, given = resolve(str(tiny_folder("gpt2"))), [passage("a dog")]
    found, expected = (
        run(
            Encoder(checkpoint, device=device, weights=Weights("bfloat16", device_map=device_map)),
            given,
        )[0][1]
        for device, device_map in ((None, "auto"), ("cpu", None))
    )
    if not torch.cuda.is_available():
        assert np.array_equal(found, expected)


def test_what_a_distribution_needs(tiny_folder, monkeypatch):
    checkpoint = resolve(str(tiny_folder("gpt2")))
    with pytest.raises(UsageError, match=r"`device` .*`device_map` .*leave out one"):
        Encoder(checkpoint, device="cpu", weights=Weights(device_map="auto"))
    with pytest.raises(UnknownNameError, match=r"'autom'.*auto"):
        Weights(device_map="autom")
    with pytest.raises(UsageError, match="leave out `device_map` or `untrained`"):
        Weights(untrained=1, device_map="auto")
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(
        CheckpointError, match=r"device_map=.auto. needs accelerate.*pip install .*\[accelerate\]"
    ):
        Encoder(checkpoint, weights=Weights(device_map="auto"))


@pytest.fixture
def adapter(tiny_folder, tmp_path):
    """An adapter of the tiny GPT-2, as peft saves it, with the tokenizer beside it."""
    peft = pytest.importorskip("peft")
    base = tf.AutoModelForCausalLM.from_pretrained(tiny_folder("gpt2"))
    base.config._name_or_path = base.name_or_path = "org/base"
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=2, target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True
    )
    model = peft.get_peft_model(base, config)
    model.save_pretrained(tmp_path / "adapter")
    tf.AutoTokenizer.from_pretrained(tiny_folder("gpt2")).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of peft
def test_an_adapter_is_refused_with_a_remedy_that_works(adapter, tiny_folder, tiny, tmp_path):
    peft = pytest.importorskip("peft")
    with pytest.raises(
        CheckpointError, match=r"is an adapter \(adapter_config\.json\).*'org/base'.*not downloaded"
    ) as caught:
        resolve(str(adapter))
    code = str(caught.value).partition("with that folder: ")[2].removesuffix(".")
    code = code.replace("'org/base'", repr(str(tiny_folder("gpt2")))).replace(
        "FOLDER", repr(str(tmp_path / "merged"))
    )
    eval(code, {"PeftModel": peft.PeftModel, "AutoModelForCausalLM": tf.AutoModelForCausalLM})
    tf.AutoTokenizer.from_pretrained(tiny_folder("gpt2")).save_pretrained(tmp_path / "merged")
    found, _ = run(Encoder(resolve(str(tmp_path / "merged")), device="cpu"), [passage("a dog")])
    without, _ = run(tiny("gpt2"), [passage("a dog")])
    model = peft.PeftModel.from_pretrained(
        tf.AutoModelForCausalLM.from_pretrained(tiny_folder("gpt2"), dtype=torch.float32), adapter
    ).eval()
    ids = tf.AutoTokenizer.from_pretrained(tiny_folder("gpt2"))(
        "a dog", return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    expected = np.stack([state[0, -1].numpy() for state in states])
    assert np.abs(found[1][: len(expected)] - expected).max() <= 1e-4 * np.abs(expected).max()
    assert not np.allclose(found[1], without[1], atol=1e-3)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"task_type": "CAUSAL_LM"}, "AutoModelForCausalLM"),
        ({"task_type": "SEQ_2_SEQ_LM"}, "AutoModelForSeq2SeqLM"),
        ({"task_type": "FEATURE_EXTRACTION"}, "AutoModel"),
        ({"task_type": None, "auto_mapping": {"base_model_class": "BertModel"}}, "AutoModel"),
        (
            {"task_type": None, "auto_mapping": {"base_model_class": "GPT2LMHeadModel"}},
            "AutoModelForCausalLM",
        ),
        ({"task_type": ["x"], "auto_mapping": []}, "AutoModelForCausalLM"),
    ],
)
def test_the_remedy_for_an_adapter_has_the_class_that_it_was_trained_on(tmp_path, config, name):
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "org/base", **config})
    )
    with pytest.raises(
        CheckpointError, match=rf"from_pretrained\({name}\.from_pretrained\('org/base'\)"
    ):
        resolve(str(tmp_path))


def test_what_an_adapter_says_of_its_base_is_data(tmp_path):
    unknown = r"is an adapter \(adapter_config\.json\) without the model that it changes\."
    for content, message in (
        ("{", r"adapter_config\.json cannot be read as JSON"),
        ("[]", unknown),
        ("{}", unknown),
        ('{"base_model_name_or_path": 3}', unknown),
        ('{"base_model_name_or_path": "a\\u0007"}', unknown),
    ):
        (tmp_path / "adapter_config.json").write_text(content)
        with pytest.raises(CheckpointError, match=message) as caught:
            resolve(str(tmp_path))
        assert "\a" not in str(caught.value)
