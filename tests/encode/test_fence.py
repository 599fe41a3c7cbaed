"""Nothing in a checkpoint's files runs code, connects, or reaches outside its folder."""

import json
import os
import pickle
import subprocess
import sys
import threading

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import huggingface_hub.constants
import torch
import transformers
from encode_texts import passage, run
from hanging import HUNG_SECONDS
from safetensors.torch import load_file, save_file

from embstore.base.errors import CheckpointError
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.models import fenced
from embstore.encode.tokens import Tokenizer


@pytest.fixture
def forbidden(monkeypatch):
    """What was tried of loading kernels, running a checkpoint's code and asking the hub."""
    tried = []

    def trap(name):
        def refuse(*args, **kwargs):
            tried.append(name)
            raise RuntimeError(f"{name} must not be called")

        return refuse

    monkeypatch.setattr(
        transformers.modeling_utils, "lazy_import_flash_attention", trap("flash attention")
    )
    monkeypatch.setattr(
        transformers.dynamic_module_utils, "get_class_in_module", trap("remote code")
    )
    monkeypatch.setattr("socket.getaddrinfo", trap("the network"))
    monkeypatch.setattr("socket.socket.connect", trap("the network"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # as it is for users
    return tried


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


def edit(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


CONFIGS = [
    {"_attn_implementation": "kernels-community/evil"},
    {"attn_implementation": "kernels-community/evil"},
    {"attn_implementation": {"": "kernels-community/evil:flash"}},
    {"_attn_implementation_internal": "kernels-community/evil"},
    {"attn_implementation": "flash_attention_2"},
    {"attn_implementation": "no such thing"},
    {"experts_implementation": "sonicmoe"},
    {"_name_or_path": "org/evil", "name_or_path": "org/evil", "_commit_hash": "0" * 40},
    {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}},
    {"auto_map": {"AutoModel": "org/evil--evil.Model"}},
    {"use_kernels": True, "use_hub_kernels": True, "trust_remote_code": True},
    {"custom_pipelines": {"x": {"impl": "evil.Pipe"}}, "base_model_name_or_path": "org/evil"},
    {"torch_dtype": "float64"},
]


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda changes: "-".join(changes)[:40])
def test_what_a_config_says_of_code_is_not_followed(copy, tiny, forbidden, changes):
    folder = copy("bert")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    edit(folder, **changes)
    encoder = Encoder(resolve(str(folder)), device="cpu")
    vectors, _ = run(encoder, [passage("cat")])
    expected, _ = run(tiny("bert"), [passage("cat")])
    assert (vectors[1] == expected[1]).all()
    assert forbidden == []
    assert {parameter.dtype for parameter in encoder._model.parameters()} == {torch.float32}
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False  # as it was


@pytest.mark.slow
def test_the_parts_of_a_config_are_fenced_too(copy, tiny, forbidden):
    folder = copy("clip")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["attn_implementation"] = "kernels-community/evil"
    edit(folder, text_config=config["text_config"])
    vectors, _ = run(Encoder(resolve(str(folder)), device="cpu"), [passage("cat")])
    expected, _ = run(tiny("clip"), [passage("cat")])
    assert (vectors[1] == expected[1]).all()
    assert forbidden == []


_WITHOUT_NETWORK = """
import socket, sys
connections = []
def refuse(*args, **kwargs):
    connections.append(args)
    raise OSError("this process has no network")
socket.getaddrinfo = socket.socket.connect = socket.socket.connect_ex = refuse

import huggingface_hub
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder

for name in sys.argv[1:]:
    assert Encoder(resolve(name), device="cpu")
assert not connections, connections
try:
    huggingface_hub.model_info("org/evil")
except Exception as error:
    assert not isinstance(error, huggingface_hub.errors.OfflineModeIsEnabled)
assert connections, "the user did not ask to be offline"
"""


@pytest.mark.process
def test_no_checkpoint_connects_though_the_user_is_online(tiny_folder):
    online = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "TRANSFORMERS_"))
    }
    command = [
        sys.executable,
        "-c",
        _WITHOUT_NETWORK,
        tiny_folder("bert"),
        tiny_folder("gpt2"),
        "minilm",
    ]
    done = subprocess.run(command, env=online, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_threads_that_load_checkpoints_leave_the_hub_as_it_is(tiny_folder, forbidden):
    """The first to begin ends while the second still loads: a switch of the process would then be
    off for the second, and on for whoever downloads after both.
    """
    checkpoint = resolve(str(tiny_folder("bert")))
    both_load, first_has_ended = threading.Barrier(2), threading.Event()
    is_offline = []
    tokenizers = []

    def load(*, is_first):
        with fenced(checkpoint) as view:
            both_load.wait(HUNG_SECONDS)
            is_offline.append(huggingface_hub.constants.HF_HUB_OFFLINE)
            assert is_first or first_has_ended.wait(HUNG_SECONDS)
            tokenizers.append(
                transformers.AutoTokenizer.from_pretrained(view, local_files_only=True)
            )
        is_offline.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        first_has_ended.set()

    threads = [threading.Thread(target=load, kwargs={"is_first": each}) for each in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HUNG_SECONDS)
    assert len(tokenizers) == 2
    assert is_offline == [False] * 4
    assert forbidden == []


@pytest.mark.parametrize("method", ["bitsandbytes", "awq", "no-such"])
def test_quantized_checkpoints_are_refused(copy, forbidden, method):
    folder = copy("bert")
    edit(folder, quantization_config={"quant_method": method, "load_in_8bit": True})
    with pytest.raises(
        CheckpointError, match=rf"is quantized by '{method}'.*weights_dtype=.bfloat16"
    ):
        Encoder(resolve(str(folder)), device="cpu")
    assert forbidden == []


def test_other_files_of_the_folder_are_not_seen(copy, tiny, forbidden):
    folder = copy("bert")
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "org/evil", "peft_type": "LORA", "auto_mapping": {}})
    )
    for name in (
        "pytorch_model.bin",
        "adapter_model.bin",
        ".metadata",
        "training_args.bin",
        "model.pt",
    ):
        (folder / name).write_bytes(pickle.dumps(Evil()))
    (folder / "generation_config.json").write_text('{"custom_generate": "org/evil"}')
    (folder / "pytorch_model.bin.index.json").write_text(
        '{"weight_map": {"x": "pytorch_model.bin"}}'
    )
    checkpoint = resolve(str(folder), allow_pickle=True)
    vectors, _ = run(Encoder(checkpoint, device="cpu", allow_pickle=True), [passage("cat")])
    expected, _ = run(tiny("bert"), [passage("cat")])
    assert (vectors[1] == expected[1]).all()
    with fenced(checkpoint) as view:
        assert {path.name for path in view.iterdir()} <= {
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "vocab.txt",
        }
    assert not view.exists()
    assert forbidden == []


def test_a_pickle_does_not_run_code_even_where_it_is_allowed(copy):
    folder = copy("bert")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Encoder(resolve(str(folder), allow_pickle=True), device="cpu", allow_pickle=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoTokenizer": ["evil.Slow", "evil.Fast"]}},
        {"auto_map": {"AutoTokenizer": [None, "org/evil--evil.Fast"]}},
        {
            "tokenizer_file": "/etc/passwd",
            "vocab_file": "/etc/passwd",
            "special_tokens_map_file": "/etc/passwd",
        },
        {"name_or_path": "org/evil", "is_local": False, "local_files_only": False},
        {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"},
        {"processor_class": "EvilProcessor"},
        {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.Slow", None]}},
    ],
    ids=lambda changes: "-".join(changes)[:40],
)
def test_what_a_tokenizers_config_says_of_code_and_files_is_not_followed(
    copy, tiny, forbidden, changes
):
    folder = copy("bert")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    edit(folder, "tokenizer_config.json", **changes)
    tokenizer = Tokenizer.load(resolve(str(folder)))
    assert (
        tokenizer.texts(["The cat sat"])[0].ids
        == tiny("bert").tokenizer.texts(["The cat sat"])[0].ids
    )
    assert forbidden == []


@pytest.mark.parametrize(
    "shard",
    [
        "../secret.safetensors",
        "/etc/passwd",
        "sub/x.safetensors",
        "..",
        "x.bin",
        "x.safetensors\n",
        3,
        None,
        ["x"],
        "C:\\x.safetensors",
        ".hidden.safetensors",
        "\x1b[31m.safetensors",
    ],
)
def test_an_index_names_weights_in_its_folder_alone(copy, shard):
    folder = copy("bert")
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": shard}}))
    with pytest.raises(CheckpointError, match=r"names .*own folder|is not an index") as caught:
        resolve(str(folder), allow_pickle=True)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["bart\x1b[31m", "\x1b]0;title\x07", "vit\x9b2J", "x\u202egpj"])
def test_what_a_checkpoint_is_called_is_shown_escaped(copy, kind):
    folder = copy("bert")
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "architectures": [kind]}))
    with pytest.raises(CheckpointError) as caught:
        Encoder(resolve(str(folder)), device="cpu")
    assert str(caught.value).isprintable()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_whatever_the_type_of_the_weights_all_is_computed_in_float32(copy, dtype):
    folder = copy("llama")
    weights = {
        name: weight.to(dtype) for name, weight in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, dtype=str(dtype).removeprefix("torch."))
    encoder = Encoder(resolve(str(folder)), device="cpu")
    tensors = [*encoder._model.parameters(), *encoder._model.buffers()]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}
    plain = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([encoder.tokenizer.texts(["cat"])[0].ids])
    with torch.no_grad():
        expected = plain(input_ids=ids, output_hidden_states=True).hidden_states
    vectors, _ = run(encoder, [passage("cat")])
    for layer in range(4):
        torch.testing.assert_close(
            torch.from_numpy(vectors[1][layer]), expected[layer][0, -1], rtol=1e-5, atol=1e-6
        )
