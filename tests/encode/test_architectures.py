"""A sample of the architectures: what the script finds, and what the two pages say of them."""

import re
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
from docs_pages import DOCS
from encode_models import TINY
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

sys.path.insert(0, str(DOCS))
import _architectures
from _architectures import PAGE, judge

pytestmark = pytest.mark.slow

LAYERS = DOCS / "concepts" / "spaces.md"

# One of each layout: recurrent, hybrid, looped, shared, with experts, with relative positions,
# padded inside.
ACCEPTED = (
    "albert", "bloom", "deberta-v2", "dory", "falcon_mamba", "hrm_text", "jamba", "longformer",
    "mamba", "mamba2",
    "mixtral", "mpt", "openai-gpt", "roberta-prelayernorm", "rwkv", "t5", "xlnet", "zamba",
    # The most used of the rest, with the pages of the tests of poolings.
    "deepseek_v3", "electra", "falcon", "gemma2", "gpt_oss", "mistral", "mt5", "phi3", "qwen3_moe",
    "xlm-roberta",
    # Parts of larger models: encoders, text towers, language models.
    "bart", "m2m_100", "mbart", "pegasus", "t5gemma", "t5gemma2",
    "metaclip_2", "siglip", "siglip2",
    "gemma3", "llama4", "llava", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "smolvlm",
)  # fmt: skip
REFUSED = {
    "deepseek_v4": "hidden states of different shapes",
    "squeezebert": "calls no list of modules",
    "fsmt": "no model at 'encoder'",
    "vit": "not a text model",
    "whisper": "not a text model",
    "xlm": "not what its blocks read and give",
}


@pytest.mark.parametrize("model_type", ACCEPTED)
def test_accepted_and_equal(model_type, tmp_path):
    if model_type not in MODEL_MAPPING_NAMES:
        pytest.skip(f"this transformers has no {model_type}")
    verdict = judge(model_type, tmp_path)
    assert (verdict.outcome, verdict.reason) == ("equal", "")
    assert verdict.worst <= 1e-4
    if verdict.shifted:
        assert model_type in ("mamba", "mamba2", "falcon_mamba", "rwkv")
    assert f"\n| {model_type} | {verdict.architecture} | " in PAGE.read_text("utf-8")


@pytest.mark.parametrize("model_type", REFUSED)
def test_refused_with_the_reason(model_type, tmp_path):
    if model_type not in MODEL_MAPPING_NAMES:
        pytest.skip(f"this transformers has no {model_type}")
    verdict = judge(model_type, tmp_path)
    assert verdict.outcome == "refused"
    assert REFUSED[model_type] in verdict.reason


@pytest.mark.parametrize(
    "change", [lambda mine: mine * 1.001, lambda mine: np.roll(mine, 1, axis=0)]
)
def test_what_is_not_equal_is_told(tmp_path, monkeypatch, change):
    encode = _architectures.Encoder.encode

    def changed(self, *args, **kwargs):
        for result in encode(self, *args, **kwargs):
            for pooling in result.vectors:
                result.vectors[pooling] = change(result.vectors[pooling])
            yield result

    monkeypatch.setattr(_architectures.Encoder, "encode", changed)
    assert judge("gpt2", tmp_path).outcome == "different"


def test_the_page_on_checkpoints_lists_what_the_tests_cover():
    text = (DOCS / "how-to" / "checkpoints.md").read_text("utf-8")
    table = text.partition("| the checkpoint is |")[2].partition("\n\n")[0]
    cells = [line.rpartition(" | ")[2] for line in table.splitlines()[2:]]
    listed = [name for cell in cells for name in re.findall("`([^`]+)`", cell)]
    assert sorted(listed) == sorted({*ACCEPTED, *TINY} - {"clip_new_ids"})


def test_the_page_on_layers_gives_the_number_of_this_page():
    text = PAGE.read_text("utf-8")
    [n] = re.findall(r"\*\*(\d+) are accepted and equal\*\*", text)
    sentence = f"For {n} architectures every layer was compared with a plain Hugging Face call"
    assert sentence in LAYERS.read_text("utf-8")
    listed = text.partition("## Accepted")[2].partition("## Refused")[0]
    assert listed.count("\n| ") - 1 == int(n)
    assert "\n* 0 are accepted and different." in text
