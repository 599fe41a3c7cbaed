"""Describe a checkpoint's own recipe: how sentence-transformers turns a text into one vector. Data only, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.space import Layers, TopForm

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
"""How a module ``Pooling`` combines the tokens of a text, by its name in sentence-transformers."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module behind the pooling, applied to one vector per text.

    Attributes:
        type: ``Dense``, ``LayerNorm``, ``Normalize``, ``truncate`` (to the first ``out_features`` dimensions), or
            ``head`` (the linear layer of the model itself, as SigLIP has it).
        in_features: Dimension of its input.
        out_features: Dimension of its output.
        bias: Whether a ``Dense`` adds a bias.
        activation: Name of the class in ``torch.nn`` that follows a ``Dense``.
        residual: Whether a ``Dense`` adds its input, projected if the dimensions differ.
        weights: File of the weights; None for a module without weights.
        weights_sha256: SHA-256 of that file.
    """

    type: Literal["Dense", "LayerNorm", "Normalize", "truncate", "head"]
    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Identity"
    residual: bool = False
    weights: Path | None = None
    weights_sha256: str = ""

    def to_document(self) -> dict[str, Any]:
        """Return the settings that its output depends on."""
        document: dict[str, Any] = {"type": self.type}
        if self.type != "Normalize":
            document |= {"in_features": self.in_features, "out_features": self.out_features}
        if self.type == "Dense":
            document |= {"bias": self.bias, "activation": self.activation, "residual": self.residual}
        if self.weights is not None:
            document["weights_sha256"] = self.weights_sha256
        return document


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps from a text to its vector, as a checkpoint declares them for sentence-transformers.

    Attributes:
        modes: Pooling modes; the vectors of several are concatenated in this order.
        token_dim: Dimension of a token's vector.
        modules: Modules behind the pooling, in order.
        include_prompt: Whether the tokens of a prompt are pooled with those of the text.
        max_seq_length: Maximum number of tokens; longer texts are truncated. None for the model's own limit.
        lower_case: Whether texts are lower-cased first.
        prompts: Name → text to put before an item.
        default_prompt: Name of the prompt that is used unless another is named; None for none.
        pad_to: Number of tokens that each text is padded to, with tokens that the model reads as it reads others; None
            for no such padding.
        follows: Program whose vectors the output has, for messages.
    """

    modes: tuple[Mode, ...]
    token_dim: int
    modules: tuple[Module, ...] = ()
    include_prompt: bool = True
    max_seq_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    pad_to: int | None = None
    follows: str = "sentence-transformers"

    @property
    def pooled_dim(self) -> int:
        """Dimension of the pooled vectors, before the modules."""
        return self.token_dim * len(self.modes)

    @property
    def dim(self) -> int:
        """Dimension of the output."""
        return self.modules[-1].out_features if self.modules else self.pooled_dim

    @property
    def has_layers(self) -> bool:
        """Whether pooled vectors of the layers have the dimension of the output, so that a space has them too."""
        return self.dim == self.pooled_dim

    def layers(self, n_blocks: int, top_form: TopForm | None) -> Layers:
        """Return the layers of a space: those of the model and the output, or the output alone."""
        return Layers.of_recipe(n_blocks, top_form, output_only=not self.has_layers)

    def prompt(self, name: str | None, checkpoint: str) -> str:
        """Return the text of a prompt.

        Args:
            name: Name of the prompt; "" for none, None for the default of the recipe.
            checkpoint: Name of the checkpoint, for messages.

        Raises:
            UnknownNameError: The recipe has no prompt of that name.
            UsageError: The recipe has no prompts.
        """
        name = self.default_prompt if name is None else name
        if not name:
            return ""
        if not self.prompts:
            raise UsageError(
                f"no prompt {name!r}: {checkpoint!r} has no prompts (config_sentence_transformers.json). Put a text "
                "before each item with a template, as in 'query: {text}'."
            )
        if name not in self.prompts:
            raise UnknownNameError("prompt", name, self.prompts)
        return self.prompts[name]

    def to_document(self, prompt: str = "") -> dict[str, Any]:
        """Return everything that its vectors depend on, beside the model's own files, for a card.

        Args:
            prompt: Text before each item.
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
