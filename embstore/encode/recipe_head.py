"""Follow a checkpoint's own recipe: read texts as it does, and compute its vectors from hidden
states.
"""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.arrays import Float32Array
from embstore.base.errors import CheckpointError
from embstore.base.space import Pooling
from embstore.base.text import Passage
from embstore.encode.extra import first_sentence, need
from embstore.encode.recipe import Mode, Module, Recipe
from embstore.encode.records import Long, Skipped
from embstore.encode.spans import Text, Tokenised, shifted, skip_all
from embstore.encode.tokens import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Head:
    """The part of a recipe behind the model."""

    recipe: Recipe
    output: int  # number of the layer with the output of the modules
    # Function of each module, from vectors (n, dim) to vectors.
    functions: tuple[Callable[["Tensor"], "Tensor"], ...]

    @classmethod
    def load(
        cls, recipe: Recipe, output: int, name: str, model: Any, *, allow_pickle: bool
    ) -> "Head":
        """Load the weights of the modules, in float32."""
        return cls(
            recipe,
            output,
            tuple(_function(module, name, model, allow_pickle) for module in recipe.modules),
        )

    def vectors(
        self,
        texts: Sequence[Text],
        states: Sequence["Tensor"],
        last: "Tensor",
        layers: Sequence[int],
    ) -> Float32Array:
        """Compute the vectors of a batch, float32 (layers, n, dim).

        Args:
            texts: Rows of the batch; the tokens of an item are those to pool.
            states: Hidden states (batch, width, token_dim) of each layer of the model.
            last: ``last_hidden_state`` (batch, width, token_dim).
            layers: Numbers of the layers; that of the output stands for the vector of the whole
                recipe.
        """
        torch = need("torch")
        chosen = [(row, positions) for row, text in enumerate(texts) for positions in text.tokens]
        pool = TokenPool.of(chosen, last.shape[1], self.recipe.modes, last.device)
        block = np.empty((len(layers), pool.n, self.recipe.dim), dtype=np.float32)
        target = torch.from_numpy(block)
        for i, layer in enumerate(layers):
            if layer != self.output:
                target[i].copy_(pool(states[layer]))
                continue
            vectors = pool(last)
            for function in self.functions:
                vectors = function(vectors)
            target[i].copy_(vectors)
        return block


@dataclass(frozen=True)
class TokenPool:
    """Indices of the pooled tokens of a batch."""

    modes: Sequence[Mode]
    n: int
    rows: "Tensor"  # flattened index of every pooled token, row · width + position, int64 (m,)
    items: "Tensor"  # item of each of these tokens, int64 (m,)
    weights: "Tensor"  # weight of each of these tokens, 1, 2, 3 …, float32 (m, 1)
    counts: "Tensor"  # number of tokens of each item, float32 (n, 1)
    ends: "Tensor"  # first and last pooled token of each item, as indices of ``rows``, int64 (2, n)

    @classmethod
    def of(
        cls,
        chosen: Sequence[tuple[int, list[int]]],
        width: int,
        modes: Sequence[Mode],
        device: Any,
        *,
        by_rank: bool = False,
    ) -> "TokenPool":
        """Compute the indices of a batch of rows of ``width`` tokens, given the row and the tokens
        of each item. A weight is 1 + the token's position in the text, or ``by_rank`` among
        the item's tokens.
        """
        torch = need("torch")
        counts = [len(positions) for _, positions in chosen]
        flat = [
            (row * width + position, 1 + (rank if by_rank else position))
            for row, positions in chosen
            for rank, position in enumerate(positions)
        ]
        ends = np.cumsum(counts)

        def tensor(values: Any, dtype: Any = torch.int64) -> "Tensor":
            made: Tensor = torch.as_tensor(values, dtype=dtype, device=device)
            return made

        return cls(
            modes,
            len(chosen),
            tensor([index for index, _ in flat]),
            tensor([i for i, count in enumerate(counts) for _ in range(count)]),
            tensor([[weight] for _, weight in flat], torch.float32),
            tensor([[count] for count in counts], torch.float32),
            tensor(np.stack([ends - counts, ends - 1])),
        )

    def __call__(self, state: "Tensor") -> "Tensor":
        """Pool a hidden state (batch, width, token_dim) by each mode; return the concatenation,
        float32 (n, dim).
        """
        tokens = state.reshape(-1, state.shape[-1]).index_select(0, self.rows).float()
        vectors: Tensor = need("torch").cat(
            [self._pooled(mode, tokens) for mode in self.modes], dim=1
        )
        return vectors

    def _pooled(self, mode: Mode, tokens: "Tensor") -> "Tensor":
        """Pool the vectors of the tokens (m, token_dim) by one mode."""
        match mode:
            case "cls":
                return tokens.index_select(0, self.ends[0])
            case "lasttoken":
                return tokens.index_select(0, self.ends[1])
            case "max":
                lowest = tokens.new_full((self.n, tokens.shape[1]), float("-inf"))
                return lowest.scatter_reduce_(
                    0, self.items.unsqueeze(1).expand_as(tokens), tokens, "amax"
                )
            case "mean":
                return self._sum(tokens) / self.counts
            case "mean_sqrt_len_tokens":
                return self._sum(tokens) / self.counts.sqrt()
            case "weightedmean":
                return self._sum(tokens * self.weights) / self._sum(self.weights)

    def _sum(self, values: "Tensor") -> "Tensor":
        """Sum values (m, k) over the tokens of each item."""
        return values.new_zeros(self.n, values.shape[1]).index_add_(0, self.items, values)


def _function(
    module: Module, name: str, model: Any, allow_pickle: bool
) -> Callable[["Tensor"], "Tensor"]:
    """Return the function of a module, with its weights loaded."""
    torch, device = need("torch"), model.device
    functional = torch.nn.functional
    if module.type == "head":  # computes in the type of its weights
        return lambda vectors: model.head(vectors.to(model.head.weight.dtype)).float()
    if module.type == "Normalize":
        return lambda vectors: functional.normalize(vectors, p=2, dim=-1)
    if module.type == "truncate":
        return lambda vectors: vectors[:, : module.out_features]
    size: tuple[int, ...] = (module.out_features, module.in_features)
    if module.type == "LayerNorm":
        expected: dict[str, tuple[int, ...]] = {"norm.weight": size[1:], "norm.bias": size[1:]}
        weights = _load(module, expected, name, device, allow_pickle)
        return lambda vectors: functional.layer_norm(
            vectors, size[1:], weights["norm.weight"], weights["norm.bias"]
        )
    expected = {"linear.weight": size} | ({"linear.bias": size[:1]} if module.bias else {})
    if module.residual and module.in_features != module.out_features:
        expected["residual.weight"] = size
    weights = _load(module, expected, name, device, allow_pickle)
    activation = getattr(torch.nn, module.activation)()

    def dense(vectors: "Tensor") -> "Tensor":
        output: Tensor = activation(
            functional.linear(vectors, weights["linear.weight"], weights.get("linear.bias"))
        )
        if module.residual:
            projection = weights.get("residual.weight")
            output = output + (
                vectors if projection is None else functional.linear(vectors, projection)
            )
        return output

    return dense


def _load(
    module: Module, expected: dict[str, tuple[int, ...]], name: str, device: Any, allow_pickle: bool
) -> dict[str, "Tensor"]:
    """Load the weights of a module in float32, and check their names and shapes."""
    torch, file = need("torch"), module.weights
    assert file is not None
    where = f"the weights of the module {module.type} of {name!r} ({file})"
    is_pickle = file.suffix == ".bin"
    if is_pickle and not allow_pickle:
        raise CheckpointError(
            f"{where} are a pickle, which can run code when it is loaded. If you trust it, use"
            " allow_pickle=True; else choose another pooling."
        )
    try:
        if is_pickle:
            weights = torch.load(file, map_location="cpu", weights_only=True)
        else:
            weights = need("safetensors.torch").load_file(file)
        shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    except Exception as error:  # safetensors and pickle raise their own kinds
        raise CheckpointError(
            f"{where} cannot be loaded: {first_sentence(error)}. Download them again."
        ) from error
    if shapes != expected:
        raise CheckpointError(
            f"{where} have the shapes {shapes}, and its config.json says {expected}."
        )
    return {key: tensor.to(device=device, dtype=torch.float32) for key, tensor in weights.items()}


def reader(tokenizer: Tokenizer, poolings: Collection[Pooling], prompt: str = "") -> Tokenizer:
    """Return the tokenizer that reads texts for some poolings: that of the recipe for ``model``."""
    if Pooling.MODEL not in poolings or tokenizer.recipe is None:
        return tokenizer
    return RecipeTokenizer(tokenizer, tokenizer.recipe, prompt)


class RecipeTokenizer(Tokenizer):
    """A tokenizer that reads texts as the recipe of its checkpoint does.

    The tokens of an item are those that the recipe pools: all of the text with its special tokens,
    without those of the prompt if the recipe excludes them.
    """

    def __init__(self, tokenizer: Tokenizer, recipe: Recipe, prompt: str) -> None:
        hf = _lower_casing(tokenizer._hf) if recipe.lower_case else copy.copy(tokenizer._hf)  # noqa: SLF001
        if recipe.max_seq_length is not None:
            hf.model_max_length = recipe.max_seq_length
        super().__init__(hf, tokenizer._config, tokenizer.name)  # noqa: SLF001
        self.context = f"the context of {self.name!r} in its own recipe"
        self.recipe, self._prompt, self._n_prompt, self._pad_to = recipe, prompt, 0, recipe.pad_to
        if prompt and not recipe.include_prompt:
            # As in sentence-transformers: all tokens of the prompt alone, but for a special one at
            # its end.
            ids = self._truncated(prompt).ids
            self._n_prompt = len(ids) - (bool(ids) and ids[-1] in hf.all_special_ids)

    def windows(
        self, passages: Iterable[Passage], *, poolings: Collection[Pooling], long: Long
    ) -> Iterator[tuple[list[Text], list[Skipped]]]:
        """Tokenise passages behind the prompt, in windows as :meth:`Tokenizer.windows` does."""
        return super().windows(map(self._prompted, passages), poolings=poolings, long=long)

    def _prompted(self, passage: Passage) -> Passage:
        return passage._replace(
            text=self._prompt + passage.text, spans=shifted(passage.spans, len(self._prompt))
        )

    def _with_items(
        self, passage: Passage, tokens: Any, cut: str, poolings: Collection[Pooling]
    ) -> Tokenised:
        text, skipped = super()._with_items(passage, tokens, cut, poolings)
        pooled = list(range(self._n_prompt, len(tokens.ids)))
        if not pooled:
            return None, skip_all(passage, "no tokens behind those of the prompt")
        if text is None and cut:  # the prompt fills the context: all texts have one vector
            ids, lengths = [*passage.item_ids], (0,) * len(passage.item_ids)
            text = Text(tokens.ids, self._type_ids(tokens), ids, [], None, None, lengths)
            skipped = [replace(item, outcome="truncated") for item in skipped]
        if text is not None:
            text = replace(text, n_own=tuple(text.item_lengths))
            if self._pad_to is not None:
                text, pooled = _padded(text, self._pad_to, self.pad_id, self._hf.padding_side)
            text.tokens[:] = [pooled for _ in text.item_ids]
        return text, skipped


def _padded(text: Text, length: int, pad_id: int, side: str) -> tuple[Text, list[int]]:
    """Pad a text to a length with tokens that are read like others; return it and the positions of
    all tokens.
    """
    pads = [pad_id] * (length - len(text.ids))
    ids = [*pads, *text.ids] if side == "left" else [*text.ids, *pads]
    type_ids = None if text.type_ids is None else [0] * len(ids)
    return replace(text, ids=ids, type_ids=type_ids), list(range(len(ids)))


def _lower_casing(hf: Any) -> Any:
    """Return a copy of a tokenizer that lower-cases texts, as sentence-transformers prepares it."""
    normalizers = need("tokenizers.normalizers")
    hf = copy.deepcopy(hf)
    backend = hf.backend_tokenizer
    present = backend.normalizer
    members = (
        list(present)
        if isinstance(present, normalizers.Sequence)
        else [present]
        if present is not None
        else []
    )
    if not any(isinstance(member, normalizers.Lowercase) for member in members):
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *members])
    return hf
