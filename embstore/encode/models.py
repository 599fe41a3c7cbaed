"""Load the part of a transformers model that reads text: all of it, a text tower, an encoder, or a
language model.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from embstore.base.errors import CheckpointError
from embstore.base.installation import install_command
from embstore.base.messages import first_of
from embstore.encode.checkpoint import Checkpoint
from embstore.encode.checkpoint_files import has_safetensors, read_files, read_json, weight_files
from embstore.encode.extra import first_sentence, model_class, need, quiet
from embstore.encode.records import Weights

_T5 = ("t5", "mt5", "umt5")
"""Model types whose encoders have a class of their own, and whose configs may be of the encoder
alone.
"""

_RELATIVE = (*_T5, "longt5", "switch_transformers")
"""Model types with relative positions, whose configs state no maximum length."""

# Text towers of contrastive models, which are loaded without the image tower: class, and whether it
# has a projection.
_TOWERS = {
    "clip": ("CLIPTextModelWithProjection", True),
    "clip_text_model": ("CLIPTextModelWithProjection", True),
    "metaclip_2": ("MetaClip2TextModelWithProjection", True),
    "metaclip_2_text_model": ("MetaClip2TextModelWithProjection", True),
    "siglip": ("SiglipTextModel", False),
    "siglip_text_model": ("SiglipTextModel", False),
    "siglip2": ("Siglip2TextModel", False),
    "siglip2_text_model": ("Siglip2TextModel", False),
}
# Text towers of contrastive models, which transformers loads with the image tower alone.
_PAIRED = ("align", "altclip", "chinese_clip", "clipseg")

_LANGUAGE_MODELS = {
    **dict.fromkeys(("idefics2", "idefics3", "smolvlm"), "text_model"),
    "llama4": "language_model.model",
}
"""Paths of the language models in multimodal models, where it is not ``language_model``."""

# Model types whose position ids begin after the pad token's id, as in fairseq, so that the first
# rows are unused.
_POSITIONS_AFTER_PAD = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "lilt",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
# Config attributes for the number of positions, in order of precedence.
# BLOOM's seq_length and RWKV's context_length are no limits: ALiBi and recurrences have no maximum.
_POSITIONS = (
    "max_encoder_position_embeddings",
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
    "n_ctx",
)
_MAX_LIMIT = 10**9  # transformers writes 1e30 where a tokenizer states no limit


@dataclass(frozen=True, slots=True)
class TextPart:
    """The part of a model that reads text."""

    architecture: str  # name of the transformers class to load
    path: str  # path of the part in a model of that class; empty for the whole model
    config: Any  # config of the part, or of the whole model
    loaded: Any  # config that the class is loaded with
    has_projection: bool = False  # whether the class has a text projection
    is_tower: bool = False  # whether it is the text tower of a contrastive model
    is_language_model: bool = False  # whether it is the language model in a multimodal model

    @property
    def is_causal(self) -> bool:
        """Whether attention is causal, so that only the last token depends on the whole text.

        True for the text towers of CLIP and MetaCLIP, for language models in multimodal models, and
        for model types that transformers can load as a causal language model but not as a masked
        one.
        """
        from transformers.models.auto import modeling_auto as auto

        if self.is_tower:
            return self.has_projection
        if (
            getattr(self.config, "use_bidirectional_attention", False)
            or self.loaded.is_encoder_decoder
        ):
            return False  # EmbeddingGemma, encoders
        kind = self.loaded.model_type
        return self.is_language_model or (
            kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
            and kind not in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        )


def _text_part(config: Any) -> TextPart | None:
    """Return the part of a model with a config that reads text; None if embstore can read none."""
    from transformers.models.auto import modeling_auto as auto

    kind = config.model_type
    if kind in _TOWERS:
        architecture, has_projection = _TOWERS[kind]
        part_config = config.get_text_config()
        if has_projection and part_config is not config:
            # The tower's own config has a default; the projection has the dimension of the whole
            # model's config.
            part_config.projection_dim = config.projection_dim
        return TextPart(architecture, "", part_config, part_config, has_projection, is_tower=True)
    if kind in _T5:
        return TextPart("AutoModelForTextEncoding", "", config, config)
    if type(config) not in auto.MODEL_MAPPING:
        return None
    if config.is_encoder_decoder:
        if kind not in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            return None
        # The encoder of T5Gemma has a config of its own.
        part_config = getattr(config, "encoder", None) or config
        path = "encoder" if part_config.get_text_config() is part_config else "encoder.text_model"
        return TextPart("AutoModel", path, part_config.get_text_config(), config)
    if any(getattr(config, f"{mode}_config", None) is not None for mode in ("vision", "audio")):
        mappings = (
            auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
            auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
        )
        part_config = getattr(config, "text_config", None)
        if part_config is None:
            return None
        if kind in _PAIRED:
            return TextPart("AutoModel", "text_model", part_config, config, is_tower=True)
        if not any(kind in names for names in mappings):
            return None
        return TextPart(
            "AutoModel",
            _LANGUAGE_MODELS.get(kind, "language_model"),
            part_config,
            config,
            is_language_model=True,
        )
    heads = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    reads_text = any(
        kind in names for names in (*heads, auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES)
    )
    part_config = getattr(config, "text_config", None) or config
    return TextPart("AutoModel", "", part_config, config) if reads_text else None


def max_tokens(hf: Any, part: TextPart) -> int | None:
    """Return the maximum input length in tokens, with special tokens; None if there is no limit.

    It is the minimum of the tokenizer's ``model_max_length`` and the config's number of positions.
    Encoders of the T5 family have relative positions, and only the tokenizer's limit.
    """
    limits = [int(hf.model_max_length)] if hf.model_max_length < _MAX_LIMIT else []
    if part.loaded.model_type not in _RELATIVE:
        text = part.config
        stated = (getattr(text, name, None) for name in _POSITIONS)
        positions = next((n for n in stated if isinstance(n, int) and n > 0), None)
        if positions is not None:
            after_pad = text.model_type in _POSITIONS_AFTER_PAD and text.pad_token_id is not None
            limits.append(positions - text.pad_token_id - 1 if after_pad else positions)
    return min(limits, default=None)


# Weights of heads, which base checkpoints do not have and hidden states do not depend on.
_UNUSED = re.compile(r"(^|\.)(pooler|lm_head|classifier)\.")
_PROJECTION = "text_projection.weight"
# Names of numbers of layers in configs, and of blocks or groups of them.
_LAYERS = re.compile(r"(layers?|depths?|blocks|block_sizes|group_num)$")
_MAX_LAYERS = 4096  # the card of a space has room for as many
_MAX_METHOD_CHARS = 40
# File of a checkpoint → ends of the keys that are not read: kernels of attention and experts; files
# that transformers reads before 5.8, wherever they are.
_UNREAD = {
    "config.json": ("_implementation", "_implementation_internal"),
    "tokenizer_config.json": ("_file",),
}


def load_config(checkpoint: Checkpoint) -> Any:
    """Load the config of a checkpoint, and check that it is a supported text model."""
    file = checkpoint.folder / "config.json"
    if (n_layers := max(_layer_counts(read_json(file)), default=0)) > _MAX_LAYERS:
        raise CheckpointError(
            f"{file} states {n_layers:,} layers, and embstore reads models of up to"
            f" {_MAX_LAYERS:,}. Download the checkpoint again."
        )
    auto = need("transformers").AutoConfig
    with quiet(), fenced(checkpoint) as view:
        try:
            config = auto.from_pretrained(view, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # transformers raises half a dozen kinds
            remedy = ", or upgrade transformers if the architecture is a new one."
            raise _load_error(checkpoint, "config", error, remedy) from error
    text_part(config, checkpoint.name)
    return check_config(config, checkpoint)


def _layer_counts(config: Any, name: str = "") -> Iterator[int]:
    """Yield the numbers of layers that a config or its parts state."""
    if isinstance(config, dict | list):
        for key, value in (
            config.items() if isinstance(config, dict) else ((name, value) for value in config)
        ):
            yield from _layer_counts(value, key)
    elif isinstance(config, int) and _LAYERS.search(name):
        yield config


def load_model(
    checkpoint: Checkpoint, config: Any, *, allow_pickle: bool, weights: Weights
) -> tuple[Any, bool]:
    """Load a checkpoint's model on the CPU for inference, or make an untrained one; return also if
    it has a projection.

    Weights are converted one by one as they are read, so that none is in memory in two types for
    longer.
    """
    part = text_part(config, checkpoint.name)
    if weights.adapter is not None:
        part = _adapted(part, weights.adapter.trained_class(part.loaded))
    absent: list[str] = []
    if weights.untrained is not None:
        whole = _untrained(part, checkpoint, weights)
    else:
        whole, absent = _trained(part, checkpoint, weights, allow_pickle=allow_pickle)
    if weights.adapter is not None:
        with quiet():
            whole = weights.adapter.merge_into(whole, checkpoint)
    return (
        _optimised(_part(_body(whole, part), part.path, checkpoint), weights),
        part.has_projection and _PROJECTION not in absent,
    )


def _adapted(part: TextPart, trained: str | None) -> TextPart:
    """Return a part of a model with a head, of the class that an adapter was trained on."""
    if trained is None or part.is_tower:
        return part
    is_encoder = part.architecture == "AutoModelForTextEncoding" and "Seq2Seq" in trained
    return replace(part, architecture=trained, path="encoder" if is_encoder else part.path)


def _body(whole: Any, part: TextPart) -> Any:
    """Return a model without its head, if it is of a class that may have one."""
    return whole if part.is_tower or part.architecture == "AutoModel" else whole.base_model


def _part(whole: Any, path: str, checkpoint: Checkpoint) -> Any:
    """Return the part of a model at a path; raise CheckpointError if there is no model."""
    try:
        part = whole.get_submodule(path)
    except AttributeError:
        part = None
    if not isinstance(part, need("transformers").PreTrainedModel):
        raise CheckpointError(
            f"embstore cannot read {checkpoint.name!r} ({type(whole).__name__}): it has no model at"
            f" {path!r}, where others of its kind have the part that reads text. The architecture"
            " is not supported."
        )
    return part


def _trained(
    part: TextPart, checkpoint: Checkpoint, weights: Weights, *, allow_pickle: bool
) -> tuple[Any, list[str]]:
    """Load a model with the weights of a checkpoint; return it, and the names of missing weights
    that it can lack.
    """
    distributed: dict[str, Any] = {}
    if weights.device_map is not None:
        if find_spec("accelerate") is None:
            raise CheckpointError(
                f"device_map={weights.device_map!r} needs accelerate, which is not installed: "
                f"{install_command('accelerate')}"
            )
        distributed = {"device_map": weights.device_map}
    cls, wide = getattr(need("transformers"), part.architecture), None
    concrete = model_class(part.architecture, part.loaded)
    if weights.dtype != "float32" and not distributed and concrete is not None:
        wide = _wide_tensors(checkpoint)
        cls = cls if wide is None else concrete
    with quiet(), fenced(checkpoint) as view:
        try:
            model, info = cls.from_pretrained(
                view if wide is None else None,
                state_dict=wide,
                config=part.loaded,
                dtype=getattr(need("torch"), weights.dtype),
                trust_remote_code=False,
                local_files_only=True,
                use_safetensors=has_safetensors(checkpoint.folder) or not allow_pickle,
                output_loading_info=True,
                attn_implementation=None,
                weights_only=True,
                **distributed,
            )
        except Exception as error:  # transformers, safetensors and pickle raise their own kinds
            raise _load_error(checkpoint, "weights", error) from error
    body = _body(model, part)
    inside = "" if body is model else f"{model.base_model_prefix}."
    # the rest is not used
    places = (f"{inside}{part.path}.", f"{inside}shared.") if part.path else (inside,)
    absent = sorted(
        name
        for name in info["missing_keys"]
        if name.startswith(places) and not _UNUSED.search(name)
    )
    if missing := [name for name in absent if name != _PROJECTION]:
        raise CheckpointError(
            f"the weights of {checkpoint.name!r} in {checkpoint.folder} lack"
            f" {first_of(missing)}, which would be random: this is not a complete"
            f" {type(model).__name__} checkpoint."
        )
    return model, absent


def _wide_tensors(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return the tensors of a checkpoint, unread, if they are stored in more than 16 bits; None if
    not.

    transformers maps whole files into memory, which then holds the wide tensors beside the narrow
    ones that it converts them to. Each of these is read when it is converted, and released.
    """
    files = [file for file in weight_files(checkpoint.folder) if file.suffix == ".safetensors"]
    tensors: dict[str, Any] = {}
    try:
        for file in files:
            opened = need("safetensors").safe_open(file, framework="pt", backend="pread")
            names = opened.keys()
            tensors |= {name: opened.get_slice(name) for name in names}
    except (
        Exception
    ):  # an old safetensors without the backend; damaged files, which from_pretrained reports
        return None
    return (
        tensors
        if any(tensor.get_dtype() in ("F32", "F64") for tensor in tensors.values())
        else None
    )


def _untrained(part: TextPart, checkpoint: Checkpoint, weights: Weights) -> Any:
    """Make a model with the random weights that transformers gives it after
    ``torch.manual_seed(seed)``.
    """
    torch = need("torch")
    cls, default = getattr(need("transformers"), part.architecture), torch.get_default_dtype()
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights.untrained)
        try:
            if hasattr(cls, "from_config"):  # an auto class
                return cls.from_config(part.loaded, dtype=getattr(torch, weights.dtype))
            torch.set_default_dtype(getattr(torch, weights.dtype))
            return cls(part.loaded)
        except Exception as error:  # whatever sizes in a config that do not fit together raise
            raise _load_error(checkpoint, "config", error) from error
        finally:
            torch.set_default_dtype(default)


def text_part(config: Any, name: str) -> TextPart:
    """Return the part of a model with a config that reads text; raise CheckpointError if embstore
    can read none.
    """
    part = _text_part(config)
    if part is None:
        raise CheckpointError(
            f"{name!r} is a {config.model_type!r} model, which is not a text model that embstore"
            " can read. It reads text encoders (BERT, RoBERTa, MPNet …), decoders (GPT-2, Llama"
            " …), the encoders of T5, BART and others of their kind, the text towers of CLIP and"
            " SigLIP, and the language models in multimodal models (Gemma 3, Qwen-VL …)."
        )
    return part


def _load_error(
    checkpoint: Checkpoint, part: str, error: Exception, remedy: str = "."
) -> CheckpointError:
    """Return the error for a config or weights that transformers does not load."""
    if "trust_remote_code" in str(error):
        needs = "needs Python code from its own repository, which embstore never runs"
        return CheckpointError(
            f"{checkpoint.name!r} {needs}: use an architecture that transformers itself has."
        )
    return CheckpointError(
        f"the {part} of {checkpoint.name!r} in {checkpoint.folder} cannot be loaded:"
        f" {first_sentence(error)}. Copy or download the checkpoint again{remedy}"
    )


def _optimised(model: Any, weights: Weights) -> Any:
    """Prepare a model for inference in place, and return it; hidden states change by rounding
    errors only.

    GELU's tanh approximation (Hendrycks & Gimpel, 2016, arXiv:1606.08415), in transformers eight
    operations that take a quarter of GPT-2's forward pass on a CPU, becomes PyTorch's single one in
    float32; in 16 bits the roundings between the eight are a part of what transformers gives. The
    cache of keys and values is disabled.
    """
    nn, activations = need("torch").nn, need("transformers.activations")
    model.eval()
    composed = (activations.NewGELUActivation, activations.FastGELUActivation)
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, composed) and weights.dtype == "float32":
                setattr(module, name, nn.GELU(approximate="tanh"))
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False
    return model


@contextmanager
def fenced(checkpoint: Checkpoint) -> Iterator[Path]:
    """Provide a temporary folder with only the fingerprinted files of a checkpoint.

    Other files of the checkpoint's folder (code, adapters, other weights, distributed states) are
    not visible. With ``local_files_only``, loading from it asks the hub for nothing.
    """
    with TemporaryDirectory(prefix="embstore-checkpoint-") as name:
        view = Path(name)
        for file in read_files(checkpoint.folder):
            if file.name in _UNREAD:
                kept = _without(read_json(file), _UNREAD[file.name])
                (view / file.name).write_text(json.dumps(kept), encoding="utf-8")
                continue
            try:
                os.symlink(file.resolve(), view / file.name)
            except OSError:  # on Windows it takes a privilege
                shutil.copyfile(file.resolve(), view / file.name)
        yield view


def _without(value: Any, ends: tuple[str, ...]) -> Any:
    """Return a JSON value without the keys of its objects that end in some way."""
    if isinstance(value, list):
        return [_without(member, ends) for member in value]
    if not isinstance(value, dict):
        return value
    return {key: _without(member, ends) for key, member in value.items() if not key.endswith(ends)}


def check_config(config: Any, checkpoint: Checkpoint) -> Any:
    """Reject a quantized config."""
    for part in _parts(config):
        if (quantization := getattr(part, "quantization_config", None)) is not None:
            raise CheckpointError(_quantized_message(quantization, checkpoint))
    return config


def _quantized_message(quantization: Any, checkpoint: Checkpoint) -> str:
    """Return why a quantized checkpoint is refused, with the remedy."""
    stated = quantization if isinstance(quantization, dict) else vars(quantization)
    method = str(getattr(stated.get("quant_method"), "value", stated.get("quant_method")))[
        :_MAX_METHOD_CHARS
    ]
    how = f" by {method!r}" if method.isprintable() and method != "None" else ""
    return (
        f"the checkpoint {checkpoint.name!r} in {checkpoint.folder} is quantized{how}"
        " (quantization_config in its config.json): its weights need kernels, which embstore does"
        " not load. Use the checkpoint that it was made from; weights_dtype='bfloat16' loads that"
        " in half the memory of float32."
    )


def _parts(config: Any) -> Iterator[Any]:
    """Yield a config and its nested configs."""
    base = need("transformers").PretrainedConfig
    yield config
    for value in vars(config).values():
        if isinstance(value, base):
            yield from _parts(value)


def hash_tensors(model: Any) -> str:
    """Compute the SHA-256 of a model's weights and stored buffers, in the order of their names.

    Each contributes a line with its name, type and shape, and its bytes.
    """
    torch = need("torch")
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
