"""Encode passages: load a checkpoint and compute the vectors of every layer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from embstore.base.errors import CheckpointError, EmbstoreError, UsageError
from embstore.base.space import Layers, Pooling, Template, Unit
from embstore.base.text import Passage
from embstore.encode.checkpoint import Checkpoint
from embstore.encode.contract import LAYER_CHECK, Contract, verify
from embstore.encode.extra import choose_device, first_sentence, need, versions
from embstore.encode.forward import Forward, run, tensors
from embstore.encode.models import hash_tensors, load_config, load_model
from embstore.encode.recipe_head import Head, reader
from embstore.encode.records import (
    DEFAULT_WEIGHTS,
    Encoded,
    Long,
    Plan,
    Skipped,
    Weights,
    default_batch_tokens,
    plan_batches,
)
from embstore.encode.spans import Text
from embstore.encode.tokens import Tokenizer

_PROBE = ("The quick brown fox jumps over the lazy dog.", "a dog")


class Encoder:
    """A loaded checkpoint with verified layers.

    Each vector equals the one that transformers computes for that text alone, unpadded, in the type of the weights, to
    1e-4 of its norm in float32, independent of the batch and the order of texts.

    Attributes:
        layers: Layers of all poolings except ``projection`` and ``model``: 0 (embeddings), 1…L, and the top layer's
            other form.
        architecture: Name of the transformers class.
        untrained_sha256: SHA-256 of the weights of an untrained model; None for the checkpoint's own weights.
    """

    layer_check = LAYER_CHECK

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        allow_pickle: bool = False,
        weights: Weights = DEFAULT_WEIGHTS,
    ) -> None:
        """Load a checkpoint and verify its layers."""
        if device is not None and weights.device_map is not None:
            raise UsageError("⦃device⦄ names one device, and ⦃device-map⦄ distributes over all: leave out one of them.")
        target = None if weights.device_map is not None else choose_device(device)
        self.checkpoint, self._allow_pickle = checkpoint, allow_pickle
        self.tokenizer = tokenizer = Tokenizer.load(checkpoint)
        self._model, tokenizer.has_projection = load_model(
            checkpoint, load_config(checkpoint), allow_pickle=allow_pickle, weights=weights
        )
        self.untrained_sha256 = None if weights.untrained is None else hash_tensors(self._model)
        try:
            if target is not None:
                self._model.to(target)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"the model cannot be put on the device {str(target)!r}: {error}") from error
        self._contract = _probe(self._model, tokenizer)
        if weights.dtype != "float32":  # padding selects other kernels, whose 16-bit roundings differ
            self._contract = replace(self._contract, pads=False)
        self.layers = Layers.of_model(self._contract.n_blocks, self._contract.top_form)
        self.dim = self._contract.dim
        self.architecture = type(self._model).__name__
        self.device = str(self._model.device)
        self.versions = versions()
        [self._reference] = tokenizer.texts(_PROBE[1:])  # read before: tells a failing text from a failing model

    @cached_property
    def _head(self) -> Head:
        """The part of the checkpoint's own recipe behind the model; raise an error if there is none for the model."""
        recipe, name = self.tokenizer.recipe, self.checkpoint.name
        if recipe is None:
            self.tokenizer.check(Unit.SENTENCE, Pooling.MODEL, Template())
            raise UsageError(f"no pooling 'model': {name!r} declares no recipe of its own.")
        if recipe.token_dim != self.dim:
            raise CheckpointError(
                f"the recipe of {name!r} (modules.json) is for vectors of {recipe.token_dim} dimensions, and its model "
                f"gives {self.dim}: the files do not belong together."
            )
        output = self.layers.n_blocks + 2
        return Head.load(recipe, output, name, self._model, allow_pickle=self._allow_pickle)

    def dim_of(self, pooling: Pooling) -> int:
        """Return the dimension of the vectors of a pooling."""
        if pooling is Pooling.PROJECTION and self.tokenizer.has_projection:
            return int(self._model.text_projection.out_features)
        return self._head.recipe.dim if pooling is Pooling.MODEL else self.dim

    def layers_of(self, pooling: Pooling) -> Layers:
        """Return the layers available for a pooling."""
        if pooling is Pooling.PROJECTION:
            return Layers.of_projection(self.layers.n_blocks, self.layers.top_form)
        if pooling is Pooling.MODEL:
            return self._head.recipe.layers(self.layers.n_blocks, self.layers.top_form)
        return self.layers

    def plan(
        self,
        passages: Iterable[Passage],
        *,
        poolings: Sequence[Pooling] = (),
        batch_tokens: int | None = None,
        long: Long = "skip",
        prompt: str = "",
    ) -> Plan:
        """Count the tokens, batches and skipped texts of :meth:`encode`, without running the model."""
        budget = batch_tokens or default_batch_tokens(self.device)
        n_tokens = n_batches = 0
        skipped: list[Skipped] = []
        tokenizer = reader(self.tokenizer, poolings, prompt)
        for texts, dropped in tokenizer.windows(passages, poolings=poolings, long=long):
            lengths = [len(text.ids) for text in texts]
            n_tokens += sum(lengths)
            n_batches += len(plan_batches(lengths, budget, pad=self._contract.pads))
            skipped += dropped
        return Plan(n_tokens, n_batches, tuple(skipped))

    def encode(
        self,
        windows: Iterable[Iterable[Passage]],
        *,
        poolings: Sequence[Pooling],
        layers: Layers | None = None,
        batch_tokens: int | None = None,
        long: Long = "skip",
        prompt: str = "",
        steady: bool = False,
    ) -> Iterator[Encoded | Skipped]:
        """Embed the items of windows of passages, with one forward pass for all items and poolings of a passage.

        No batch mixes passages of two windows, so that the batches of a window depend only on its own passages; the
        model does not wait between windows. Of a long window some thousands of passages are read at a time, so memory
        use does not grow with their number. Items are yielded in the order of the batches, not of the input. If ``bos``
        or ``eos`` is among the poolings, an item without that token (removed by truncation) is skipped for all
        poolings. ``projection`` yields its single layer, independent of ``layers``, a subset of :meth:`layers_of`;
        ``model`` goes by itself, with ``prompt`` before each item.

        Raises:
            UsageError: An argument is out of range, or the checkpoint has no projection.
            EncodeError: A text is too long (``long="error"``) or does not fit in memory alone, or the model fails on
                every text. A single text that the model fails on is skipped.
        """
        if not poolings:
            raise UsageError("name at least one pooling.")
        if batch_tokens is not None and batch_tokens < 1:
            raise UsageError(f"batch_tokens must be at least 1, not {batch_tokens}.")
        if Pooling.PROJECTION in poolings and not self.tokenizer.has_projection:
            raise UsageError(f"{self.checkpoint.name!r} has no text projection: only CLIP has one.")
        head = self._head if Pooling.MODEL in poolings else None
        if head is not None and set(poolings) != {Pooling.MODEL}:
            raise UsageError("pooling 'model' reads texts in its own way: encode it by itself.")
        known = self.layers_of(poolings[0]) if head is not None else self.layers
        chosen = (layers if layers is not None else known).ids
        if set(poolings) != {Pooling.PROJECTION} and not set(chosen) <= set(known.ids):
            raise UsageError(f"{self.checkpoint.name!r} has the layers {known.ids}, not {chosen}.")
        budget = batch_tokens or default_batch_tokens(self.device)
        forward = Forward(
            self._model, self._contract, self.tokenizer.pad_id, list(dict.fromkeys(poolings)), chosen, self._reference,
            head,
        )  # fmt: skip
        tokenizer = reader(self.tokenizer, poolings, prompt)

        def stream() -> Iterator[list[Text] | Skipped]:
            for window in windows:
                for texts, skipped in tokenizer.windows(window, poolings=poolings, long=long):
                    yield from skipped
                    for batch in plan_batches([len(text.ids) for text in texts], budget, pad=self._contract.pads):
                        yield [texts[row] for row in batch]

        return run(forward, stream(), budget, steady=steady)


def _probe(model: Any, tokenizer: Tokenizer) -> Contract:
    """Verify the layers of a model on two short texts, and return the contract."""
    texts = tokenizer.texts(_PROBE)
    if (highest := max(max(text.ids) for text in texts)) >= tokenizer.vocab_size:
        raise CheckpointError(
            f"the tokenizer of {tokenizer.name!r} gives the token {highest}, and its model has only "
            f"{tokenizer.vocab_size}: they do not belong together."
        )
    long, short = (tensors(model, [text], pad_id=tokenizer.pad_id) for text in texts)
    try:
        with need("torch").inference_mode():
            return verify(model, tokenizer.name, long, short, tokenizer.pad_id)
    except EmbstoreError:
        raise
    except Exception as error:  # an architecture may raise anything, such as one that needs images
        raise CheckpointError(
            f"{tokenizer.name!r} ({type(model).__name__}) fails on a short text: {type(error).__name__}: "
            f"{first_sentence(error)}. embstore cannot read this architecture, or the files do not belong together."
        ) from error
