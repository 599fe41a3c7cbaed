"""Distribution over devices, adapters and quantized checkpoints: loaded, or refused with what is
missing.
"""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from encode_texts import items, passage, passages, run

from embstore.base.errors import CheckpointError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.encode import models
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.records import Weights


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_an_adapter_alone_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    expected = rf"'org/base' by its own account.*models='org/base', adapter='{tmp_path}'\.$"
    with pytest.raises(CheckpointError, match=expected):
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
