"""Load the transformers model of a checkpoint, in float32, or raise if it is not a text model."""

import re
from typing import Any

from embstore.encode.checkpoint import Checkpoint
from embstore.encode.checkpoint_files import has_safetensors
from embstore.encode.extra import first_sentence, need, quiet
from embstore.encode.fence import check_config, fenced
from embstore.errors import CheckpointError

# Weights of heads, which base checkpoints do not have and hidden states do not depend on.
_UNUSED = re.compile(r"(^|\.)(pooler|lm_head|classifier)\.")
_PROJECTION = "text_projection.weight"


def load_config(checkpoint: Checkpoint) -> Any:
    """Load the config of a checkpoint, and check that it is a supported text model.

    Raises:
        CheckpointError: The config cannot be read, needs remote code, is quantized, or is not a text model's.
    """
    auto = need("transformers").AutoConfig
    with quiet(), fenced(checkpoint) as view:
        try:
            config = auto.from_pretrained(view, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # transformers raises half a dozen kinds
            remedy = "Copy or download the checkpoint again, or upgrade transformers if the architecture is a new one."
            raise _load_error(checkpoint, "config", error, remedy) from error
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
        CheckpointError: It cannot be loaded, or weights are missing and would be initialised at random.
    """
    torch, transformers = need("torch"), need("transformers")
    kind = _kind(config)
    if config.model_type == "clip":
        # The text tower's own config has the default 512; the projection has the dimension of the whole model's config.
        config.text_config.projection_dim = config.projection_dim
        config = config.text_config
    with quiet(), fenced(checkpoint) as view:
        try:
            model, info = getattr(transformers, kind or "AutoModel").from_pretrained(
                view, config=config, dtype=torch.float32, trust_remote_code=False, local_files_only=True,
                use_safetensors=has_safetensors(checkpoint.folder) or not allow_pickle, output_loading_info=True,
                attn_implementation=None,
            )  # fmt: skip
        except Exception as error:  # transformers, safetensors and pickle raise their own kinds
            raise _load_error(checkpoint, "weights", error, "Copy or download the checkpoint again.") from error
    absent = sorted(name for name in info["missing_keys"] if not _UNUSED.search(name))
    if missing := [name for name in absent if name != _PROJECTION]:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise CheckpointError(
            f"the weights of {checkpoint.name!r} in {checkpoint.folder} lack {shown}, which would be random: this is "
            f"not a complete {type(model).__name__} checkpoint."
        )
    return _fuse(model.eval()), kind == "CLIPTextModelWithProjection" and _PROJECTION not in absent


def _kind(config: Any) -> str | None:
    """Return the name of the transformers class for a config; None if it is not a supported text model."""
    from transformers.models.auto import modeling_auto as auto

    if config.model_type in ("clip", "clip_text_model"):
        return "CLIPTextModelWithProjection"
    if config.is_encoder_decoder:
        return "AutoModelForTextEncoding" if config.model_type in auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES else None
    heads = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    reads_text = any(config.model_type in names for names in (*heads, auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES))
    is_multimodal = any(getattr(config, f"{mode}_config", None) is not None for mode in ("vision", "audio"))
    return "AutoModel" if reads_text and type(config) in auto.MODEL_MAPPING and not is_multimodal else None


def _load_error(checkpoint: Checkpoint, part: str, error: Exception, remedy: str) -> CheckpointError:
    """Return the error for a config or weights that transformers does not load."""
    if "trust_remote_code" in str(error):
        needs = "needs Python code from its own repository, which embstore never runs"
        return CheckpointError(f"{checkpoint.name!r} {needs}: use an architecture that transformers itself has.")
    place = f"the {part} of {checkpoint.name!r} in {checkpoint.folder}"
    return CheckpointError(f"{place} cannot be loaded: {first_sentence(error)}. {remedy}")


def _fuse(model: Any) -> Any:
    """Replace slow operations of a model in place, and return it; hidden states change by rounding errors only.

    GELU's tanh approximation (Hendrycks & Gimpel, 2016, arXiv:1606.08415), in transformers eight operations that take a
    quarter of GPT-2's forward pass on a CPU, becomes PyTorch's single one. The cache of keys and values is disabled.
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
