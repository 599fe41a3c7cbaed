"""Load the transformers model of a checkpoint, in float32, or raise if it is not a text model."""

import re
from typing import Any

from embstore.encode.checkpoint import Checkpoint
from embstore.encode.checkpoint_files import has_safetensors
from embstore.encode.extra import need, quiet, told
from embstore.encode.fence import check_config, fenced
from embstore.errors import CheckpointError

# Weights of heads that hidden states do not depend on: base checkpoints lack them, and embstore never runs them.
_UNUSED = re.compile(r"(^|\.)(pooler|lm_head|classifier)\.")
_PROJECTION = "text_projection.weight"


def load_config(checkpoint: Checkpoint) -> Any:
    """Load the config of a checkpoint, and check that it is a supported text model.

    Raises:
        CheckpointError: If the config cannot be read, needs remote code, is quantized, or is not a text model's.
    """
    auto = need("transformers").AutoConfig
    with quiet(), fenced(checkpoint) as view:
        try:
            config = auto.from_pretrained(view, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # transformers raises half a dozen kinds; all mean that it cannot be read
            raise CheckpointError(
                _remote_code(checkpoint, error)
                or f"the config of {checkpoint.name!r} in {checkpoint.folder} cannot be read: {told(error)}. Copy or "
                "download the checkpoint again, or upgrade transformers if the architecture is a new one."
            ) from error
    if _kind(config) is None:
        raise CheckpointError(
            f"{checkpoint.name!r} is a {config.model_type!r} model, which is not a text model that embstore can read. "
            "It reads text encoders (BERT, RoBERTa, MPNet …), decoders (GPT-2, Llama …), CLIP's text tower and the "
            "encoders of the T5 family."
        )
    return check_config(config, checkpoint)


def load_model(checkpoint: Checkpoint, config: Any, *, allow_pickle: bool) -> tuple[Any, bool]:
    """Load a checkpoint's model on the CPU, in float32, for inference.

    Returns:
        The model, and whether it has the weights of CLIP's text projection.

    Raises:
        CheckpointError: If it cannot be loaded, or weights are missing and would be initialised at random.
    """
    torch, transformers = need("torch"), need("transformers")
    kind = _kind(config)
    if config.model_type == "clip":
        # The text tower's own config carries the default 512; the width of the projection is the whole model's.
        config.text_config.projection_dim = config.projection_dim
        config = config.text_config
    with quiet(), fenced(checkpoint) as view:
        try:
            model, info = getattr(transformers, kind or "AutoModel").from_pretrained(
                view,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                local_files_only=True,
                attn_implementation=None,
                use_safetensors=has_safetensors(checkpoint.folder) or not allow_pickle,
                output_loading_info=True,
            )
        except Exception as error:  # transformers, safetensors and pickle raise their own kinds
            raise CheckpointError(
                _remote_code(checkpoint, error)
                or f"the weights of {checkpoint.name!r} in {checkpoint.folder} cannot be loaded: {told(error)}. Copy "
                "or download the checkpoint again."
            ) from error
    missing = sorted(name for name in info["missing_keys"] if not _UNUSED.search(name))
    has_projection = kind == "CLIPTextModelWithProjection" and _PROJECTION not in missing
    if unmet := [name for name in missing if name != _PROJECTION]:
        shown = ", ".join(unmet[:5]) + (f" and {len(unmet) - 5} more" if len(unmet) > 5 else "")
        raise CheckpointError(
            f"the weights of {checkpoint.name!r} in {checkpoint.folder} lack {shown}, which would be random: this is "
            f"not a complete {type(model).__name__} checkpoint."
        )
    return _fuse(model.eval()), has_projection


def _kind(config: Any) -> str | None:
    """Return the name of the transformers class for a config; None if it is not a supported text model."""
    from transformers.models.auto import modeling_auto as auto

    if config.model_type in ("clip", "clip_text_model"):
        return "CLIPTextModelWithProjection"
    if config.is_encoder_decoder:
        return "AutoModelForTextEncoding" if config.model_type in auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES else None
    heads = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    reads_text = any(config.model_type in names for names in (*heads, auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES))
    other_senses = any(getattr(config, f"{sense}_config", None) is not None for sense in ("vision", "audio"))
    loadable = type(config) in auto.MODEL_MAPPING
    return "AutoModel" if reads_text and loadable and not other_senses else None


def _remote_code(checkpoint: Checkpoint, error: Exception) -> str:
    if "trust_remote_code" not in str(error):
        return ""
    return (
        f"{checkpoint.name!r} needs Python code from its own repository, which embstore never runs: use a checkpoint "
        "of an architecture that transformers itself has."
    )


def _fuse(model: Any) -> Any:
    """Replace slow operations of a model in place, and return it; hidden states change by rounding errors only.

    The tanh approximation of GELU (Hendrycks & Gimpel, 2016, arXiv:1606.08415), which transformers composes of eight
    operations in GPT-2 and similar models, is replaced by PyTorch's single operation: on a CPU the eight take a quarter
    of a pass. The cache of keys and values is disabled, since no tokens are generated.
    """
    nn, activations = need("torch").nn, need("transformers.activations")
    composed = (activations.NewGELUActivation, activations.FastGELUActivation)
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, composed):
                setattr(module, name, nn.GELU(approximate="tanh"))
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False
    return model
