"""Weights of 16 bits, and random ones: vectors equal those of a plain transformers call with the
same weights.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers as tf
from encode_texts import items, passage, passages, run
from encode_witness import Witness, worst
from safetensors.torch import load_file, save_file

from embstore.base.errors import CheckpointError, UnknownNameError, UsageError
from embstore.base.space import Pooling, Template, Unit
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.records import Weights

pytestmark = pytest.mark.slow

TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
NAMES = ("gpt2", "llama", "bert", "t5", "clip", "modernbert")


@pytest.fixture(autouse=True)
def one_thread():
    """Compute in one thread: how a busy machine divides a product among threads decides how 16 bits
    are rounded.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "bfloat16") for name in NAMES), ("gpt2", "float16"), ("clip", "float16")],
)
def test_equals_a_batch_of_one_in_the_same_type(tiny_folder, witness, name, dtype):
    folder = tiny_folder(name)
    encoder = Encoder(resolve(str(folder)), device="cpu", weights=Weights(dtype))
    same, wide = Witness(folder, dtype=TYPES[dtype]), witness(name)
    members = items(Unit.SENTENCE)
    supported = encoder.tokenizer.poolings_of(Unit.SENTENCE, Template())
    poolings = [
        pooling
        for pooling in (Pooling.MEAN, Pooling.EOS, Pooling.PROJECTION)
        if pooling in supported
    ]
    for pooling in poolings:
        found, skipped = run(encoder, passages(members, encoder), pooling, batch_tokens=200)
        assert not skipped
        differences = []
        for member in members:
            text = member.text
            near, far = (each.vector(text, 0, len(text), pooling, (0, 0)) for each in (same, wide))
            assert worst(found[member.id], near) <= 1e-4
            differences.append(worst(found[member.id], far))
        assert max(differences) > 1e-4  # the type is really computed with


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_shards_give_what_one_file_gives(tiny_folder, tmp_path, stored):
    model = tf.LlamaForCausalLM.from_pretrained(tiny_folder("llama"), dtype=stored)
    for name, size in (("one", "1GB"), ("many", "20KB")):
        model.save_pretrained(tmp_path / name, max_shard_size=size)
        tf.AutoTokenizer.from_pretrained(tiny_folder("llama")).save_pretrained(tmp_path / name)
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 3
    vectors = [
        run(
            Encoder(resolve(str(tmp_path / name)), device="cpu", weights=Weights(dtype)),
            [passage("cat")],
        )[0][1]
        for name in ("one", "many")
        for dtype in ("bfloat16", "float32")
    ]
    assert np.array_equal(vectors[0], vectors[2])
    assert np.array_equal(vectors[1], vectors[3])
    assert not np.array_equal(vectors[0], vectors[1])


def test_missing_and_damaged_weights_are_refused_as_in_float32(copy):
    folder = copy("llama")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layers.1.mlp" not in k}, folder / "model.safetensors"
    )
    for dtype in ("float32", "bfloat16"):
        with pytest.raises(
            CheckpointError, match=r"lack .*layers\.1\.mlp\.\w+\.weight.*would be random"
        ):
            Encoder(resolve(str(folder)), device="cpu", weights=Weights(dtype))
    (folder / "model.safetensors").write_bytes(b"no weights")
    for dtype in ("float32", "bfloat16"):
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            Encoder(resolve(str(folder)), device="cpu", weights=Weights(dtype))


@pytest.mark.parametrize("name", ["gpt2", "bert", "clip", "t5"])
def test_untrained_weights_are_those_of_transformers_for_the_seed(tiny_folder, tmp_path, name):
    folder = tiny_folder(name)
    config = tf.AutoConfig.from_pretrained(folder)
    torch.manual_seed(7)
    if name == "clip":
        config.text_config.projection_dim = config.projection_dim
        model = tf.CLIPTextModelWithProjection(config.text_config)
    else:
        model = {"t5": tf.AutoModelForTextEncoding}.get(name, tf.AutoModel).from_config(config)
    saved = tmp_path / "made"
    model.save_pretrained(saved)
    tf.AutoTokenizer.from_pretrained(folder).save_pretrained(saved)
    torch.manual_seed(3)  # the state of the process does not matter, and does not change
    state = torch.random.get_rng_state()
    encoder = Encoder(
        resolve(str(folder), has_weights=False), device="cpu", weights=Weights(untrained=7)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    given = [passage("the quick fox"), passage("a dog", 2)]
    found, _ = run(encoder, given)
    expected, _ = run(Encoder(resolve(str(saved)), device="cpu"), given)
    trained, _ = run(Encoder(resolve(str(folder)), device="cpu"), given)
    other = Encoder(resolve(str(folder)), device="cpu", weights=Weights(untrained=8))
    assert all(np.array_equal(found[item], expected[item]) for item in (1, 2))
    assert not np.allclose(found[1], trained[1])
    assert encoder.untrained_sha256 != other.untrained_sha256


def test_another_process_makes_the_same_untrained_weights_also_in_16_bits(tiny_folder):
    folder = tiny_folder("gpt2")
    code = (
        "import sys; from embstore.encode.checkpoint import resolve; from embstore.encode.forward"
        " import Encoder\nfrom embstore.encode.records import"
        " Weights\nprint(Encoder(resolve(sys.argv[1]), device='cpu',"
        " weights=Weights(untrained=7)).untrained_sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)], check=True, capture_output=True
    )
    own = Encoder(resolve(str(folder)), device="cpu", weights=Weights(untrained=7)).untrained_sha256
    assert done.stdout.decode().split()[-1] == own
    encoder = Encoder(resolve(str(folder)), device="cpu", weights=Weights("bfloat16", 7))
    assert encoder._model.dtype is torch.bfloat16
    assert len(run(encoder, [passage("cat")])[0][1]) == 5


def test_choices_that_do_not_exist_and_a_config_whose_sizes_do_not_fit_are_refused(copy):
    with pytest.raises(UnknownNameError, match=r"'bfloat32'.*bfloat16"):
        Weights("bfloat32")
    for seed in (-1, 1 << 32):
        with pytest.raises(UsageError, match="from 0 to 4294967295"):
            Weights(untrained=seed)
    folder = copy("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 5}))
    with pytest.raises(CheckpointError, match=r"config of .* cannot be loaded"):
        Encoder(resolve(str(folder)), device="cpu", weights=Weights(untrained=1))
