"""Describe a checkpoint's own recipe: how sentence-transformers turns a text into one vector. Data
only, no torch.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from embstore.base.documents import Document
from embstore.base.errors import CheckpointError, UsageError, check_known, nearest
from embstore.base.space import Layers, TopForm
from embstore.encode.checkpoint_files import (
    MODULES_FILE,
    is_file,
    model_subfolder,
    read_json,
    sha256,
)

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
"""How a module ``Pooling`` combines the tokens of a text, by its name in sentence-transformers."""

SETTINGS_FILE = "config_sentence_transformers.json"
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_KWARGS = (
    ("model_args", "model_kwargs"),
    ("tokenizer_args", "processor_kwargs"),
    ("config_args", "config_kwargs"),
)
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]*")
_PACKAGE = "sentence_transformers."
_SUPPORTED = "Transformer, Pooling, Dense, LayerNorm, Normalize, Dropout"
_SIGLIP = ("siglip", "siglip_text_model", "siglip2", "siglip2_text_model")
_MODES: tuple[Mode, ...] = get_args(Mode)
# Before release 5.3 of sentence-transformers: one switch per mode, concatenated in this order.
_SWITCHES: Mapping[str, Mode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = (
    "CELU",
    "ELU",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
)
# Settings of the Transformer module that do not change its vectors in float32.
_HARMLESS = frozenset(
    {
        "add_pooling_layer",
        "attn_implementation",
        "cache_dir",
        "device_map",
        "dtype",
        "low_cpu_mem_usage",
        "padding_side",
        "revision",
        "torch_dtype",
        "use_fast",
    }
)


@dataclass(frozen=True, slots=True)
class Module:
    """A module behind the pooling, applied to one vector per text.

    Attributes:
        type: ``Dense``, ``LayerNorm``, ``Normalize``, ``truncate`` (to the first ``out_features``
            dimensions), or ``head`` (the linear layer of the model itself, as SigLIP has it).
    """

    type: Literal["Dense", "LayerNorm", "Normalize", "truncate", "head"]
    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Identity"  # name of the class in ``torch.nn`` that follows a ``Dense``
    residual: bool = False  # whether a ``Dense`` adds its input, projected if the dimensions differ
    weights: Path | None = None
    weights_sha256: str = ""

    def to_document(self) -> Document:
        """Return the settings that its output depends on."""
        document: Document = {"type": self.type}
        if self.type != "Normalize":
            document |= {"in_features": self.in_features, "out_features": self.out_features}
        if self.type == "Dense":
            document |= {
                "bias": self.bias,
                "activation": self.activation,
                "residual": self.residual,
            }
        if self.weights is not None:
            document["weights_sha256"] = self.weights_sha256
        return document


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps from a text to its vector, as a checkpoint declares them for sentence-transformers.

    Attributes:
        pad_to: Number of tokens that each text is padded to, with tokens that the model reads as it
            reads others; None for no such padding.
    """

    modes: tuple[Mode, ...]  # pooling modes; the vectors of several are concatenated in this order
    token_dim: int
    modules: tuple[Module, ...] = ()  # modules behind the pooling, in order
    include_prompt: bool = True  # whether the tokens of a prompt are pooled with those of the text
    max_seq_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = (
        None  # name of the prompt that is used unless another is named; None for none
    )
    pad_to: int | None = None
    follows: str = "sentence-transformers"  # program whose vectors the output has, for messages

    @property
    def pooled_dim(self) -> int:
        """Dimension of the pooled vectors, before the modules."""
        return self.token_dim * len(self.modes)

    @property
    def dim(self) -> int:
        """Dimension of the output."""
        return self.modules[-1].out_features if self.modules else self.pooled_dim

    def layers(self, n_blocks: int, top_form: TopForm | None) -> Layers:
        """Return the layers of a space: the output, and those of the model if they have its
        dimension.
        """
        return Layers.of_recipe(n_blocks, top_form, output_only=self.dim != self.pooled_dim)

    def prompt(self, name: str | None, checkpoint: str) -> str:
        """Return the text of a prompt; the name "" is none, None the default of the recipe."""
        name = self.default_prompt if name is None else name
        if not name:
            return ""
        if not self.prompts:
            raise UsageError(
                f"no prompt {name!r}: {checkpoint!r} has no prompts"
                " (config_sentence_transformers.json). Put a text before each item with a"
                " template, as in 'query: {text}'."
            )
        check_known("prompt", name, self.prompts)
        return self.prompts[name]

    def to_document(self, prompt: str = "") -> Document:
        """Return everything that its vectors depend on, beside the model's own files, for a
        card.
        """
        padding = {} if self.pad_to is None else {"pad_to": self.pad_to}
        return padding | {
            "pooling": list(self.modes),
            "include_prompt": self.include_prompt,
            "modules": [module.to_document() for module in self.modules],
            "max_seq_length": self.max_seq_length,
            "do_lower_case": self.lower_case,
            "prompt": prompt,
        }

    def __str__(self) -> str:
        """Return the modules in short, as in ``mean, Dense 768 (Tanh), Normalize``."""
        parts = [" + ".join(self.modes)]
        for module in self.modules:
            size = "" if module.type in ("Normalize", "LayerNorm") else f" {module.out_features}"
            activation = f" ({module.activation})" if module.activation != "Identity" else ""
            parts.append(f"{module.type}{size}{activation}")
        return ", ".join(parts)


def module_paths(folder: Path) -> list[str]:
    """Return the subfolders that ``modules.json`` names beside that of the model; none if there is
    no such file.
    """
    return [path for _, path in _modules(folder) if path not in ("", model_subfolder(folder))]


def read_recipe(folder: Path, name: str) -> Recipe | None:
    """Return the recipe of a checkpoint: that in ``modules.json``, or the rule of SigLIP; None if
    there is none.
    """
    modules = _modules(folder)
    if not modules:
        return _siglip(folder, name)
    settings = _read(folder / SETTINGS_FILE)
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise _error(name, f"it is of a {kind}, which does not give one dense vector per text")
    if [kind for kind, _ in modules[:2]] != ["Transformer", "Pooling"]:
        raise _error(
            name,
            f"its modules are {', '.join(kind for kind, _ in modules)}, not Transformer,"
            " Pooling, …",
        )
    (_, root), (_, pooling), *rest = modules
    if root != model_subfolder(folder):
        raise _error(
            name, f"its Transformer is in the subfolder {root!r}, and there is another beside it"
        )
    max_seq_length, lower_case = _transformer(folder / root, name)
    modes, token_dim, include_prompt = _pooling(folder / pooling, name)
    prompts = _prompts(settings, name)
    default = settings.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise _error(name, f"its default prompt {default!r} is not among its prompts")
    steps = tuple(_steps(folder, rest, len(modes) * token_dim, settings.get("truncate_dim"), name))
    return Recipe(
        modes, token_dim, steps, include_prompt, max_seq_length, lower_case, prompts, default
    )


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Return the class name and subfolder of each module of ``modules.json``; none without it."""
    file = folder / MODULES_FILE
    if not is_file(file):
        return []
    modules = []
    for entry in read_json(file):
        kind, path = (
            (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(kind, str) or not isinstance(path, str):
            raise CheckpointError(
                f"{file} is not a list of modules with type and path: {_short(entry)}."
            )
        if not all(map(_PART.fullmatch, PurePosixPath(path).parts)):
            raise CheckpointError(
                f"{file} names the folder {path!r}: a module is in a subfolder of its checkpoint."
                " Do not use this checkpoint, or download it again."
            )
        modules.append(
            (kind.rpartition(".")[2] if kind.startswith(_PACKAGE) else kind, path.strip("/"))
        )
    return modules


def _siglip(folder: Path, name: str) -> Recipe | None:
    """Return the recipe of SigLIP's text tower, ``get_text_features`` of transformers; None for
    other models.

    Each text is padded to the full length, as in training, and the linear head of the last token's
    state is its vector.
    """
    config = _read(folder / "config.json")
    if config.get("model_type") not in _SIGLIP:
        return None
    text = config.get("text_config", config)
    # Defaults of SiglipTextConfig and Siglip2TextConfig.
    dim = _size(text.get("hidden_size", 768), "hidden_size", name)
    length = _size(text.get("max_position_embeddings", 64), "max_position_embeddings", name)
    head = Module("head", dim, _size(text.get("projection_size") or dim, "projection_size", name))
    return Recipe(
        ("lasttoken",),
        dim,
        (head,),
        max_seq_length=length,
        pad_to=length,
        follows="get_text_features",
    )


def _transformer(folder: Path, name: str) -> tuple[int | None, bool]:
    """Read the settings of the recipe's module ``Transformer``, and refuse those that cannot be
    followed.
    """
    config = next((config for file in TRANSFORMER_FILES if (config := _read(folder / file))), {})
    task = config.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise _error(name, f"its Transformer is for the task {task!r}")
    text = config.get("modality_config", {}).get("text", {"method": "forward"})
    output = config.get("module_output_name", "token_embeddings")
    if (
        text.get("method") != "forward"
        or text.get("method_output_name", "last_hidden_state") != "last_hidden_state"
    ):
        raise _error(
            name,
            f"its Transformer gives {text.get('method_output_name')!r} of {text.get('method')!r}",
        )
    if output != "token_embeddings" or "message" in config.get("modality_config", {}):
        raise _error(name, "its Transformer reads chat messages or gives no vectors of tokens")
    for old, new in _KWARGS:
        values = {**config.get(old, {}), **config.get(new, {})}
        if others := sorted(values.keys() - _HARMLESS - {"trust_remote_code"}):
            raise _error(name, f"its Transformer has the setting {others[0]!r} ({new})")
    for setting in ("processing_kwargs", "tokenizer_name_or_path"):
        if config.get(setting):
            raise _error(name, f"its Transformer has the setting {setting!r}")
    length = config.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or length < 1):
        raise _error(name, f"its max_seq_length is {_short(length)}")
    return length, bool(config.get("do_lower_case", False))


def _pooling(folder: Path, name: str) -> tuple[tuple[Mode, ...], int, bool]:
    """Return the modes of the module ``Pooling``, the dimension of its input, and whether prompts
    are pooled too.
    """
    config = _read(folder / "config.json")
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for switch, mode in _SWITCHES.items() if config.get(switch)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes or any(mode not in _MODES for mode in modes):
        raise _error(name, f"its pooling mode is {_short(modes)}; known are {', '.join(_MODES)}")
    dim = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    return (
        tuple(modes),
        _size(dim, "embedding dimension", name),
        bool(config.get("include_prompt", True)),
    )


def _steps(
    folder: Path, modules: list[tuple[str, str]], dim: int, truncate_dim: Any, name: str
) -> Iterator[Module]:
    """Yield the modules behind the pooling, and the truncation of their output."""
    for kind, path in modules:
        config = _read(folder / path / "config.json") if path else {}
        places = {
            config.get(key) or "sentence_embedding"
            for key in ("module_input_name", "module_output_name")
        }
        if places != {"sentence_embedding"}:
            raise _error(
                name,
                f"its module {kind} does not read and give the vector of the text, but"
                f" {sorted(places)}",
            )
        match kind:
            case "Dropout":  # has no effect outside training
                continue
            case "Normalize":
                yield Module("Normalize", dim, dim)
            case "LayerNorm":
                _check_input(
                    _size(config.get("dimension"), "dimension of LayerNorm", name), dim, kind, name
                )
                yield Module("LayerNorm", dim, dim, **_weights(folder / path, kind, name))
            case "Dense":
                _check_input(
                    _size(config.get("in_features"), "in_features of Dense", name), dim, kind, name
                )
                dense = _dense(folder / path, config, dim, name)
                yield dense
                dim = dense.out_features
            case _:
                reason = f"not one of {_SUPPORTED}"
                if "." in kind:
                    reason = "code of its own, which embstore never runs"
                raise _error(name, f"its module {kind!r} is {reason}")
    if truncate_dim is not None and (size := _size(truncate_dim, "truncate_dim", name)) < dim:
        yield Module("truncate", dim, size)


def _dense(folder: Path, config: Mapping[str, Any], dim: int, name: str) -> Module:
    """Return a module ``Dense``."""
    path = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    activation = str(path).rpartition(".")[2]
    if not str(path).startswith("torch.nn.") or activation not in _ACTIVATIONS:
        near = nearest(activation, _ACTIVATIONS) or _ACTIVATIONS
        raise _error(
            name, f"the activation of its Dense is {_short(path)}; known are {', '.join(near)}"
        )
    return Module(
        "Dense",
        dim,
        _size(config.get("out_features"), "out_features of Dense", name),
        bool(config.get("bias", True)),
        activation,
        bool(config.get("use_residual", False)),
        **_weights(folder, "Dense", name),
    )


def _weights(folder: Path, kind: str, name: str) -> dict[str, Any]:
    """Return the file of a module's weights and its hash: safetensors if there are any, else a
    pickle.
    """
    for file in WEIGHT_FILES:
        if is_file(folder / file):
            return {"weights": folder / file, "weights_sha256": sha256(folder / file)}
    raise _error(name, f"its module {kind} has no weights in {folder} (model.safetensors)")


def _prompts(settings: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the prompts by name; one without a text is empty."""
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(
        isinstance(text, str | None) for text in prompts.values()
    ):
        raise _error(name, f"its prompts are no texts by name: {_short(prompts)}")
    return {key: text or "" for key, text in prompts.items()}


def _check_input(size: int, dim: int, kind: str, name: str) -> None:
    if size != dim:
        raise _error(
            name, f"its module {kind} reads {size} dimensions, and the one before gives {dim}"
        )


def _size(value: Any, called: str, name: str) -> int:
    """Return a positive number of dimensions."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 1 << 20:
        raise _error(name, f"its {called} is {_short(value)}")
    return value


def _read(file: Path) -> Document:
    """Return the JSON object in a file; empty if there is no such file."""
    if not is_file(file):
        return {}
    document = read_json(file)
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} is not a JSON object.")
    return document


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _error(name: str, reason: str) -> CheckpointError:
    """Return the error for a recipe that embstore does not follow."""
    return CheckpointError(
        f"pooling 'model' does not follow the recipe of {name!r} ({MODULES_FILE}): {reason}. Choose"
        " another pooling."
    )
