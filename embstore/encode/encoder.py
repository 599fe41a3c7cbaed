"""The encoder: passages in, the vectors of every layer out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from embstore.encode.batches import default_batch_tokens, plan_batches
from embstore.encode.checkpoint import Checkpoint
from embstore.encode.contract import LAYER_CHECK, Contract, verify
from embstore.encode.devices import pick
from embstore.encode.extra import need, told, versions
from embstore.encode.forward import Forward, tensors
from embstore.encode.models import load_config, load_model
from embstore.encode.records import Encoded, Long, Plan, Skipped
from embstore.encode.spans import Text
from embstore.encode.tokens import Tokenizer
from embstore.encode.workers import run
from embstore.errors import CheckpointError, EmbstoreError, UsageError
from embstore.space import Layers, Pooling
from embstore.text import Passage

_PROBE = ("The quick brown fox jumps over the lazy dog.", "a dog")


class Encoder:
    """A checkpoint that is loaded and whose layers are verified.

    A vector is what transformers gives for that text alone, in a batch of one, unpadded, in float32: whatever the
    batch, the order and the other texts (to within 1e-4 of its norm).

    Attributes:
        checkpoint: what was loaded.
        tokenizer: its tokenizer, which answers for templates, poolings and limits.
        layers: the layers of all poolings but ``projection``: 0 (embeddings), 1…L, and the top's other form.
        dim: width of a hidden state.
        architecture: the transformers class.
        device: where it runs: ``cpu``, ``cuda``, ``mps`` …
        versions: of torch, transformers and tokenizers.
        layer_check: version of the check that established the layers.
    """

    layer_check = LAYER_CHECK

    def __init__(self, checkpoint: Checkpoint, tokenizer: Tokenizer, model: Any, contract: Contract) -> None:
        self.checkpoint = checkpoint
        self.tokenizer = tokenizer
        self.layers = Layers.of_model(contract.n_blocks, contract.top_form)
        self.dim = contract.dim
        self.architecture = type(model).__name__
        self.device = str(model.device)
        self.versions = versions()
        self._model, self._contract = model, contract
        [self._reference] = tokenizer.texts(_PROBE[1:])

    @classmethod
    def load(cls, checkpoint: Checkpoint, *, device: str | None = None, allow_pickle: bool = False) -> Self:
        """Load a checkpoint and verify what its layers are.

        Args:
            checkpoint: from ``resolve``.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` …; by default the first accelerator that is there.
            allow_pickle: load ``pytorch_model.bin`` where there are no safetensors.

        Raises:
            CheckpointError: it cannot be loaded, is no text model, or its layers cannot be verified.
            UsageError: the device is not there.
        """
        target = pick(device)
        tokenizer = Tokenizer.load(checkpoint)
        model, tokenizer.has_projection = load_model(checkpoint, load_config(checkpoint), allow_pickle=allow_pickle)
        try:
            model.to(target)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"the model cannot be put on the device {target.type!r}: {error}") from error
        contract = _probe(model, tokenizer)
        return cls(checkpoint, tokenizer, model, contract)

    def dim_of(self, pooling: Pooling) -> int:
        """Return the length of a vector of this pooling."""
        if pooling is Pooling.PROJECTION and self.tokenizer.has_projection:
            return int(self._model.text_projection.out_features)
        return self.dim

    def layers_of(self, pooling: Pooling) -> Layers:
        """Return the layers that a space of this pooling can have."""
        if pooling is Pooling.PROJECTION:
            return Layers.of_projection(self.layers.n_blocks, self.layers.top_form)
        return self.layers

    def plan(
        self,
        passages: Iterable[Passage],
        *,
        poolings: Sequence[Pooling] = (),
        batch_tokens: int | None = None,
        long: Long = "skip",
    ) -> Plan:
        """Count what ``encode`` would do with the same arguments."""
        budget = batch_tokens or default_batch_tokens(self.device)
        pad = self._contract.pads
        return self.tokenizer.plan(passages, poolings=poolings, batch_tokens=budget, long=long, pad=pad)

    def encode(
        self,
        passages: Iterable[Passage],
        *,
        poolings: Sequence[Pooling],
        layers: Layers | None = None,
        batch_tokens: int | None = None,
        long: Long = "skip",
    ) -> Iterator[Encoded | Skipped]:
        """Embed the items of the passages: one forward pass for all items and poolings of a passage.

        Passages are consumed some thousands at a time, so that any number of them fits in memory. Items come in the
        order of the batches, not of the input. Where ``bos`` or ``eos`` is among the poolings, an item without that
        token (cut off by truncation) is skipped for all of them.

        Args:
            passages: strings with spans.
            poolings: at least one; ``projection`` gives its one layer, whatever ``layers`` says.
            layers: which of ``self.layers``; None is all.
            batch_tokens: tokens of a batch, padding counted; None is what suits the device. Halved where the memory
                does not suffice.
            long: what to do with texts of more than ``max_tokens``.

        Yields:
            The vectors of each batch, and each text that was skipped or truncated, with its reason.

        Raises:
            UsageError: an argument is out of range, or the checkpoint has no projection.
            EncodeError: a text is too long (``long="error"``), or too large for the memory even alone, or the model
                fails at every text. One at which the model fails alone is skipped.
        """
        return self.encode_windows([passages], poolings=poolings, layers=layers, batch_tokens=batch_tokens, long=long)

    def encode_windows(
        self,
        windows: Iterable[Iterable[Passage]],
        *,
        poolings: Sequence[Pooling],
        layers: Layers | None = None,
        batch_tokens: int | None = None,
        long: Long = "skip",
    ) -> Iterator[Encoded | Skipped]:
        """Embed passages as :meth:`encode` does, with no passages of two windows in one batch.

        So it is what a window holds that decides how it is encoded, and not what comes before and after it. The model
        does not wait between windows.
        """
        if not poolings:
            raise UsageError("name at least one pooling.")
        if batch_tokens is not None and batch_tokens < 1:
            raise UsageError(f"batch_tokens must be at least 1, not {batch_tokens}.")
        if Pooling.PROJECTION in poolings and not self.tokenizer.has_projection:
            raise UsageError(f"{self.checkpoint.name!r} has no text projection: only CLIP has one.")
        chosen = (layers if layers is not None else self.layers).ids
        if set(poolings) != {Pooling.PROJECTION} and not set(chosen) <= set(self.layers.ids):
            raise UsageError(f"{self.checkpoint.name!r} has the layers {self.layers.ids}, not {chosen}.")
        budget = batch_tokens or default_batch_tokens(self.device)
        forward = Forward(
            self._model, self._contract, self.tokenizer.pad_id, list(dict.fromkeys(poolings)), chosen, self._reference
        )
        stream = (one for window in windows for one in self._batches(window, poolings, budget, long))
        return run(forward, stream, budget)

    def _batches(
        self, passages: Iterable[Passage], poolings: Sequence[Pooling], batch_tokens: int, long: Long
    ) -> Iterator[list[Text] | Skipped]:
        for texts, skipped in self.tokenizer.windows(passages, poolings=poolings, long=long):
            yield from skipped
            for batch in plan_batches([len(text.ids) for text in texts], batch_tokens, pad=self._contract.pads):
                yield [texts[row] for row in batch.rows]


def _probe(model: Any, tokenizer: Tokenizer) -> Contract:
    """Run the model on two short texts, and return what holds for its layers."""
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
    except Exception as error:  # whatever an architecture raises that wants more than the tokens of a text
        raise CheckpointError(
            f"{tokenizer.name!r} ({type(model).__name__}) fails on a short text: {type(error).__name__}: "
            f"{told(error)}. embstore cannot read this architecture, or the files do not belong together."
        ) from error
