"""Encode passages: load a checkpoint, run batches through it, on a CPU several in parallel, and
pool hidden states.
"""

import copy
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.arrays import Float32Array
from embstore.base.errors import CheckpointError, EmbstoreError, EncodeError, UsageError
from embstore.base.space import Layers, Pooling, Template, Unit
from embstore.base.text import Passage
from embstore.encode import records
from embstore.encode.checkpoint import Checkpoint
from embstore.encode.contract import LAYER_CHECK, Contract, verify
from embstore.encode.extra import (
    choose_device,
    first_sentence,
    free_cached_memory,
    is_out_of_memory,
    need,
    versions,
)
from embstore.encode.models import hash_tensors, load_config, load_model
from embstore.encode.recipe import Mode
from embstore.encode.recipe_head import Head, TokenPool, reader
from embstore.encode.spans import Text
from embstore.encode.tokens import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

_PROBE = ("The quick brown fox jumps over the lazy dog.", "a dog")


class Encoder:
    """A loaded checkpoint with verified layers.

    Each vector equals the one that transformers computes for that text alone, unpadded, in the type
    of the weights, to 1e-4 of its norm in float32, independent of the batch and the order of texts.

    Attributes:
        layers: Layers of all poolings except ``projection`` and ``model``: 0 (embeddings), 1…L, and
            the top layer's other form.
        architecture: Name of the transformers class.
        untrained_sha256: SHA-256 of the weights of an untrained model; None for the checkpoint's
            own weights.
    """

    layer_check = LAYER_CHECK

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        allow_pickle: bool = False,
        weights: records.Weights = records.DEFAULT_WEIGHTS,
    ) -> None:
        """Load a checkpoint and verify its layers."""
        if device is not None and weights.device_map is not None:
            raise UsageError(
                "`device` names one device, and `device_map` distributes over all: leave out one of"
                " them."
            )
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
            raise UsageError(
                f"the model cannot be put on the device {str(target)!r}: {error}"
            ) from error
        self._contract = _probe(self._model, tokenizer)
        # Padding selects other kernels, whose 16-bit roundings differ.
        if weights.dtype != "float32":
            self._contract = replace(self._contract, pads=False)
        self.layers = Layers.of_model(self._contract.n_blocks, self._contract.top_form)
        self.dim = self._contract.dim
        self.architecture = type(self._model).__name__
        self.device = str(self._model.device)
        self.versions = versions()
        # Read before: tells a failing text from a failing model.
        [self._reference] = tokenizer.texts(_PROBE[1:])
        self._shortened: dict[tuple[int, ...], tuple[Any, Contract]] = {}

    @cached_property
    def _head(self) -> Head:
        """The part of the checkpoint's own recipe behind the model; raise an error if there is none
        for the model.
        """
        recipe, name = self.tokenizer.recipe, self.checkpoint.name
        if recipe is None:
            self.tokenizer.check(Unit.SENTENCE, Pooling.MODEL, Template())
            raise UsageError(f"no pooling 'model': {name!r} declares no recipe of its own.")
        if recipe.token_dim != self.dim:
            raise CheckpointError(
                f"the recipe of {name!r} (modules.json) is for vectors of {recipe.token_dim}"
                f" dimensions, and its model gives {self.dim}: the files do not belong together."
            )
        output = self.layers.n_blocks + 2
        return Head.load(recipe, output, name, self._model, allow_pickle=self._allow_pickle)

    def _for_layers(self, layers: tuple[int, ...]) -> tuple[Any, Contract]:
        """Return the model and its contract without what some layers do not need."""
        if hasattr(self._model, "hf_device_map"):  # distributed, as it is
            return self._model, self._contract
        if layers not in self._shortened:
            texts, pad_id = self.tokenizer.texts(_PROBE[:1]), self.tokenizer.pad_id
            with need("torch").inference_mode():
                inputs = tensors(self._model, texts, pad_id=pad_id)
                self._shortened[layers] = self._contract.shortened(self._model, layers, inputs)
        return self._shortened[layers]

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
        long: records.Long = "skip",
        prompt: str = "",
    ) -> records.Plan:
        """Count the tokens, batches and skipped texts of :meth:`encode`, without running the
        model.
        """
        budget = batch_tokens or records.default_batch_tokens(self.device)
        n_tokens = n_batches = 0
        skipped: list[records.Skipped] = []
        tokenizer = reader(self.tokenizer, poolings, prompt)
        for texts, dropped in tokenizer.windows(passages, poolings=poolings, long=long):
            lengths = [len(text.ids) for text in texts]
            n_tokens += sum(lengths)
            n_batches += len(records.plan_batches(lengths, budget, pad=self._contract.pads))
            skipped += dropped
        return records.Plan(n_tokens, n_batches, tuple(skipped))

    def encode(
        self,
        windows: Iterable[Iterable[Passage]],
        *,
        poolings: Sequence[Pooling],
        layers: Layers | None = None,
        batch_tokens: int | None = None,
        long: records.Long = "skip",
        prompt: str = "",
        steady: bool = False,
    ) -> Iterator[records.Encoded | records.Skipped]:
        """Embed the items of windows of passages, with one forward pass for all items and poolings
        of a passage.

        No batch mixes passages of two windows, so that the batches of a window depend only on its
        own passages; the model does not wait between windows. Of a long window some thousands of
        passages are read at a time, so memory use does not grow with their number. Items are
        yielded in the order of the batches, not of the input. If ``bos`` or ``eos`` is among the
        poolings, an item without that token (removed by truncation) is skipped for all poolings.
        ``projection`` yields its single layer, independent of ``layers``, a subset of
        :meth:`layers_of`; ``model`` goes by itself, with ``prompt`` before each item.

        Raises:
            UsageError: An argument is out of range, or the checkpoint has no projection.
            EncodeError: A text is too long (``long="error"``) or does not fit in memory alone, or
                the model fails on every text. A single text that the model fails on is skipped.
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
        budget = batch_tokens or records.default_batch_tokens(self.device)
        model, contract = self._model, self._contract
        if Pooling.PROJECTION not in poolings:
            model, contract = self._for_layers(tuple(chosen))
        forward = Forward(
            model,
            contract,
            self.tokenizer.pad_id,
            list(dict.fromkeys(poolings)),
            chosen,
            self._reference,
            head,
        )
        tokenizer = reader(self.tokenizer, poolings, prompt)

        def stream() -> Iterator[list[Text] | records.Skipped]:
            for window in windows:
                for texts, skipped in tokenizer.windows(window, poolings=poolings, long=long):
                    yield from skipped
                    for batch in records.plan_batches(
                        [len(text.ids) for text in texts], budget, pad=self._contract.pads
                    ):
                        yield [texts[row] for row in batch]

        return run(forward, stream(), budget, steady=steady)


def _probe(model: Any, tokenizer: Tokenizer) -> Contract:
    """Verify the layers of a model on two short texts, and return the contract."""
    texts = tokenizer.texts(_PROBE)
    if (highest := max(max(text.ids) for text in texts)) >= tokenizer.vocab_size:
        raise CheckpointError(
            f"the tokenizer of {tokenizer.name!r} gives the token {highest}, and its model has only"
            f" {tokenizer.vocab_size}: they do not belong together."
        )
    long, short = (tensors(model, [text], pad_id=tokenizer.pad_id) for text in texts)
    try:
        with need("torch").inference_mode():
            return verify(model, tokenizer.name, long, short, tokenizer.pad_id)
    except EmbstoreError:
        raise
    except Exception as error:  # an architecture may raise anything, such as one that needs images
        raise CheckpointError(
            f"{tokenizer.name!r} ({type(model).__name__}) fails on a short text:"
            f" {type(error).__name__}: {first_sentence(error)}. embstore cannot read this"
            " architecture, or the files do not belong together."
        ) from error


Texts = Sequence[Text]
_MAX_ERROR_CHARS = 200
Results = list[records.Encoded | records.Skipped]
_Pending = Future[Results | None]

_MODES: Mapping[Pooling, Mode] = {
    Pooling.MEAN: "mean",
    Pooling.MEAN_ALL: "mean",
    Pooling.WEIGHTED: "weightedmean",
    Pooling.WEIGHTED_ALL: "weightedmean",
}
"""Poolings over several tokens."""
# Maximum size of the hidden states of all batches that run in parallel on a CPU.
_STATES_BYTES = 4 << 30


@dataclass(frozen=True)
class Forward:
    """A copy of the model, with the poolings and layers to extract from a forward pass.

    Attributes:
        reference: Short text without items that the model has encoded before, to tell a failing
            text from a failing model.
    """

    model: Any
    contract: Contract
    pad_id: int
    poolings: Sequence[Pooling]
    layers: Sequence[int]  # layers to keep, for all poolings except ``projection``
    reference: Text
    head: Head | None = None

    def thread_copy(self) -> "Forward":
        """Return a copy for another thread: separate modules and buffers, shared weights."""
        weights = {id(weight): weight for weight in self.model.parameters()}
        return replace(self, model=copy.deepcopy(self.model, weights))

    def __call__(self, texts: Texts) -> Results | None:
        """Encode a batch of texts; return None if it does not fit in memory and can be split.

        Texts that the model fails on are skipped; the other texts of the batch are encoded.
        """
        width = max(len(text.ids) for text in texts)
        try:
            vectors = self._vectors(texts, width)
        except _ForwardError as error:
            return self._encode_halves(texts, str(error))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(texts) == 1:
                raise EncodeError(
                    f"a text of {width} tokens does not fit in the memory of"
                    f" {str(self.model.device)!r}, even alone: leave it out, or use another"
                    " `device` or a smaller model."
                ) from error
        else:
            ids = np.array([item for text in texts for item in text.item_ids], dtype=np.int64)
            lengths = np.array([n for text in texts for n in text.item_lengths], dtype=np.int64)
            n_tokens = sum(len(text.ids) for text in texts)
            return [records.Encoded(ids, vectors, n_tokens, lengths, self._n_first(texts))]
        free_cached_memory(self.model.device)
        return None

    def _n_first(self, texts: Texts) -> int:
        """Count the items whose vector is the state of the first token, which is no special one."""
        takes_first = Pooling.FIRST in self.poolings
        return sum(
            positions[0] == 0 and (takes_first or len(positions) == 1)
            for text in texts
            if text.begin is None and any(pooling.uses_span for pooling in self.poolings)
            for positions in text.tokens
        )

    def _encode_halves(self, texts: Texts, reason: str) -> Results | None:
        """Encode a batch that the model fails on in halves, recursively, and skip each text that
        fails alone.
        """
        try:
            with need("torch").inference_mode():
                self._states(tensors(self.model, [self.reference], pad_id=self.pad_id))
        except Exception as error:  # any error means that the model itself fails
            raise records.ModelFailsError(
                "the model fails at every text, even at one that it read when it was loaded"
                f" ({reason}). Run the same build again; if it fails again, with another `device`.",
                texts[0].item_ids[0],
            ) from error
        if len(texts) == 1:
            reason = f"{records.MODEL_FAILS}: {reason}"
            return [records.Skipped(item, reason, "skipped") for item in texts[0].item_ids]
        results: Results = []
        for half in halves(texts):
            half_results = self(half)
            if half_results is None:
                return None
            results += half_results
        return results

    def _vectors(self, texts: Texts, width: int) -> dict[Pooling, Float32Array]:
        """Compute the vectors of a batch for each pooling, float32 (layers, n, dim); (1, n, dim)
        for ``projection``.
        """
        torch, model = need("torch"), self.model
        n = sum(len(text.item_ids) for text in texts)
        vectors: dict[Pooling, Float32Array] = {}
        with torch.inference_mode():
            states, last = self._states(tensors(model, texts, pad_id=self.pad_id))
            for pooling in self.poolings:
                if pooling is Pooling.MODEL and self.head is not None:
                    vectors[pooling] = self.head.vectors(texts, states, last, self.layers)
                    continue
                pool = pool_of(texts, width, pooling, model.device)
                if pooling is Pooling.PROJECTION:
                    # As in transformers, the end token's state after the final norm is projected.
                    projected = model.text_projection(pool(last).to(last.dtype))
                    vectors[pooling] = projected.unsqueeze(0).float().cpu().numpy()
                    continue
                block = np.empty((len(self.layers), n, self.contract.dim), dtype=np.float32)
                target = torch.from_numpy(block)
                for i, layer in enumerate(self.layers):
                    target[i].copy_(pool(states[layer]))
                vectors[pooling] = block
        return vectors

    def _states(self, inputs: Any) -> tuple[list[Any], Any]:
        """Run a forward pass; raise _ForwardError if it fails for a reason other than memory."""
        try:
            return self.contract.forward(self.model, inputs)
        except (
            Exception
        ) as error:  # an architecture may raise anything at a text that it cannot read
            if is_out_of_memory(error):
                raise
            raise _ForwardError(error) from error


class _ForwardError(Exception):
    """A forward pass failed for a reason other than memory: the class and first sentence of the
    error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {first_sentence(error)[:_MAX_ERROR_CHARS]}")


def tensors(model: Any, texts: Sequence[Text], *, pad_id: int) -> dict[str, "Tensor"]:
    """Build the inputs of a forward pass, int64 (n, t) on the model's device, padded on the right.

    ``pad_id`` is the tokenizer's own, if it has one: RoBERTa and MPNet derive positions from it.
    Padding is masked, so that the states of the real tokens are the same with any id.
    """
    torch = need("torch")
    width = max(len(text.ids) for text in texts)
    columns = {
        "input_ids": [text.ids + [pad_id] * (width - len(text.ids)) for text in texts],
        "attention_mask": [[1] * len(text.ids) + [0] * (width - len(text.ids)) for text in texts],
    }
    if (
        texts[0].type_ids is not None
        and "token_type_ids" in inspect.signature(model.forward).parameters
    ):
        columns["token_type_ids"] = [
            (text.type_ids or []) + [0] * (width - len(text.type_ids or [])) for text in texts
        ]
    return {
        name: torch.tensor(rows, dtype=torch.int64, device=model.device)
        for name, rows in columns.items()
    }


def halves(texts: Texts) -> list[Texts]:
    """Split a batch of two or more texts into two halves."""
    middle = (len(texts) + 1) // 2
    return [texts[:middle], texts[middle:]]


def pool_of(texts: Sequence[Text], width: int, pooling: Pooling, device: Any) -> TokenPool:
    """Return what pools the items of a batch of rows of ``width`` tokens, in order."""
    chosen = [
        (row, _positions(text, tokens, pooling))
        for row, text in enumerate(texts)
        for tokens in text.tokens
    ]
    return TokenPool.of(chosen, width, (_MODES.get(pooling, "lasttoken"),), device, by_rank=True)


def _positions(text: Text, tokens: list[int], pooling: Pooling) -> list[int]:
    """Return the positions of the tokens to pool for an item, given the positions of its span's
    tokens.
    """
    match pooling:
        case Pooling.MEAN | Pooling.WEIGHTED:
            return tokens
        case Pooling.MEAN_ALL | Pooling.WEIGHTED_ALL:
            return [*range(len(text.ids))]
        case Pooling.FIRST:
            return tokens[:1]
        case Pooling.LAST:
            return tokens[-1:]
        case Pooling.BOS:
            position = text.begin
        case Pooling.EOS | Pooling.PROJECTION:
            position = text.end
    if position is None:  # the tokenizer has skipped such items
        raise ValueError(f"no position for the pooling {pooling.value!r}")
    return [position]


def run(
    forward: Forward,
    stream: Iterable[Texts | records.Skipped],
    batch_tokens: int,
    *,
    steady: bool = False,
) -> Iterator[records.Encoded | records.Skipped]:
    """Run batches through the model, and yield their vectors in order.

    On a CPU each core runs its own batches, with a copy of the model that shares the weights, so
    that cores do not synchronise after each operation. On other devices one batch is prepared while
    another runs. ``batch_tokens``, with padding, is halved on out-of-memory errors. With
    ``steady``, a batch gets as few threads as if many followed: the last bits of vectors depend on
    the number of threads.
    """
    unread = iter(stream)
    most = _max_parallel(forward, batch_tokens)
    # Up to as many batches, and what is skipped between them.
    first: list[Texts | records.Skipped] = []
    n_first = 0
    while n_first < most and (member := next(unread, None)) is not None:
        first.append(member)
        n_first += not isinstance(member, records.Skipped)
    unread, n_first = chain(first, unread), max(1, n_first)
    limit = batch_tokens

    def within_limit(texts: Texts, forward: Forward) -> Results | None:
        nonlocal limit
        if len(texts) > 1 and _size(texts) > limit:  # lowered since the batch was submitted
            return None
        if (results := forward(texts)) is None:  # later batches are as large
            limit = min(limit, _size(texts) // 2)
        return results

    repeated: list[Texts] = []  # batches to run again, the next one last
    running: deque[tuple[Texts, _Pending]] = deque()
    with _workers(forward, n_first, most if steady else n_first) as submit:
        while True:
            while (
                len(running) < 2 * n_first
                and (batch := repeated.pop() if repeated else next(unread, None)) is not None
            ):
                if isinstance(batch, records.Skipped):
                    yield batch
                elif len(batch) > 1 and _size(batch) > limit:
                    repeated += halves(batch)[::-1]
                else:
                    running.append((batch, submit(partial(within_limit, batch))))
            if not running:
                return
            texts, future = running.popleft()
            if (results := future.result()) is not None:
                yield from results
                continue
            cancelled = [(other, pending) for other, pending in running if pending.cancel()]
            running = deque(pair for pair in running if pair not in cancelled)
            repeated += [*(other for other, _ in reversed(cancelled)), texts]


def _max_parallel(forward: Forward, batch_tokens: int) -> int:
    """Return the maximum number of parallel batches: on a CPU one per thread if their states fit in
    4 GiB, else 1.
    """
    if forward.model.device.type != "cpu":
        return 1
    states = 4 * batch_tokens * forward.contract.dim * (forward.contract.n_blocks + 2)
    return int(min(need("torch").get_num_threads(), max(1, _STATES_BYTES // states)))


@contextmanager
def _workers(
    forward: Forward, n: int, n_shares: int
) -> Iterator[Callable[[Callable[[Forward], Results | None]], _Pending]]:
    """Start n threads, each with one of ``n_shares`` shares of torch's; give a function that
    submits what one of them is to do with its copy of the model.
    """
    torch, thread = need("torch"), local()
    n_threads = torch.get_num_threads()
    copies = [forward, *(forward.thread_copy() for _ in range(n - 1))]

    def begin() -> None:
        thread.forward = copies.pop()
        torch.set_num_threads(max(1, n_threads // n_shares))

    pool = ThreadPoolExecutor(n, "embstore-encoder", begin)
    try:
        yield lambda do: pool.submit(lambda: do(thread.forward))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


def _size(texts: Texts) -> int:
    return len(texts) * max(len(text.ids) for text in texts)
