"""Verify which hidden state of a model is which layer, by running it on two short texts."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from embstore.base.errors import CheckpointError
from embstore.base.space import TopForm
from embstore.encode.extra import need

if TYPE_CHECKING:
    from torch import Tensor

LAYER_CHECK = 1  # version of the verification of the layers; recorded in each card

_TOLERANCE = 1e-4
_SHORTENED_TOLERANCE = 1e-6  # of the states of a model without its upper blocks


@dataclass(frozen=True)
class Contract:
    """The verified mapping from a model's hidden states, of ``n_blocks`` blocks, to the layers 0…L.

    Attributes:
        top_form: Form of ``hidden_states[L]``: ``raw`` (before the final norm) or ``normed`` (after
            it); None without a final norm.
        entry: Path of the first block if ``hidden_states`` begin with its output, so that layer 0
            is captured from its input; None if they begin with its input.
        blocks: Path of the list of the blocks, in order; None if no list has them all.
        captured: Numbers of the hidden states to keep; None for all.
    """

    n_blocks: int
    dim: int
    top_form: TopForm | None
    norm: str | None  # path of the final norm's module; None if there is none
    # whether padding leaves the states of the real tokens unchanged, to 1e-4 of their norm
    pads: bool
    entry: str | None = None
    blocks: str | None = None
    captured: tuple[int, ...] | None = None

    def shortened(
        self, model: Any, layers: Sequence[int], inputs: Mapping[str, "Tensor"]
    ) -> tuple[Any, "Contract"]:
        """Return a model that computes no more than some layers need, and its contract.

        It keeps the states of these layers alone, where transformers can, and lacks the blocks
        above the highest one, with its weights shared. Its states of ``inputs`` (1, t) are those of
        the whole model, to 1e-6 of their norm; else the model itself is returned.
        """
        wanted = sorted({layer for layer in layers if layer <= self.n_blocks})
        if self.entry is not None or not wanted or len(wanted) > self.n_blocks:
            return model, self
        contract = self
        # From 5.24 on.
        if find_spec("transformers.utils.output_capturing") and hasattr(
            need("transformers.utils.output_capturing"), "selected_hidden_states"
        ):
            contract = replace(self, captured=tuple(wanted))
        candidates: list[tuple[Any, Contract]] = [(model, contract)]
        if self.blocks is not None and (top := max(layers)) < self.n_blocks:
            # With one more block, the state is not that behind the last one, which may be changed.
            candidates[:0] = [
                (self._without_blocks(model, n), replace(contract, n_blocks=n, norm=None))
                for n in (top, top + 1)
            ]
        expected, _ = self.forward(model, inputs)
        for candidate in candidates:
            with suppress(Exception):  # an architecture may raise anything without some blocks
                states, _ = candidate[1].forward(candidate[0], inputs)
                if all(
                    _difference(states[layer], expected[layer]) <= _SHORTENED_TOLERANCE
                    for layer in wanted
                ):
                    return candidate
        return model, self

    def _without_blocks(self, model: Any, n: int) -> Any:
        """Return a copy of a model, which shares its weights, with the first n blocks and without
        the final norm.
        """
        short = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
        assert self.blocks is not None
        short.set_submodule(self.blocks, short.get_submodule(self.blocks)[:n])
        if self.norm is not None:
            short.set_submodule(self.norm, need("torch").nn.Identity())
        return short

    def forward(
        self, model: Any, inputs: Mapping[str, "Tensor"]
    ) -> tuple[list["Tensor"], "Tensor"]:
        """Run a forward pass on inputs (n, t); return the states of every layer, and
        ``last_hidden_state`` (n, t, dim).

        The layers 0…L, each (n, t, dim), are followed by the top layer's other form if there is a
        final norm. States that are not to be kept may be empty.
        """
        norm_calls: list[tuple[Tensor, Tensor]] = []  # input and output of the final norm
        entries: list[Tensor] = []

        def record(
            _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            norm_calls.append((_first(args, kwargs), output))

        def enter(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not entries:
                entries.append(_first(args, kwargs).clone())

        with ExitStack() as stack:
            if self.norm is not None:
                norm = model.get_submodule(self.norm)
                stack.callback(norm.register_forward_hook(record, with_kwargs=True).remove)
            if self.entry is not None:
                block = model.get_submodule(self.entry)
                stack.callback(block.register_forward_pre_hook(enter, with_kwargs=True).remove)
            kept = True if self.captured is None else list(self.captured)
            outputs = model(**inputs, output_hidden_states=kept, return_dict=True)
        last = outputs.last_hidden_state
        states = [last[:0] if state is None else state for state in outputs.hidden_states]
        if entries:
            # The second-last state, the last block's output, is left out: it is the top layer's raw
            # form, added below.
            states = [*entries, *states[: self.n_blocks - 1], states[-1]]
        if norm_calls:
            raw, normed = norm_calls[-1]
            states.append(raw if self.top_form is TopForm.NORMED else normed)
        device = model.device  # of the inputs; a distributed model has its blocks on several
        return [state.to(device) for state in states], last.to(device)


def verify(
    model: Any, name: str, long: Mapping[str, "Tensor"], short: Mapping[str, "Tensor"], pad_id: int
) -> Contract:
    """Determine how to read a model's layers, from the inputs and outputs of its blocks.

    Layer 0 must be the first block's input, layer i the i-th block's output (or the next block's
    input, if there are operations between blocks), and the top layer the last block's output
    (``raw``) or the final norm's (``normed``). The final norm is the module outside the blocks
    whose output is ``last_hidden_state``. The blocks are the modules of one list, or of one class
    in several lists, that are called L times in all.
    """
    probe = Probe.run(model, long)
    states = probe.states
    if len(states) < 2:
        raise _error(model, name, f"it gives {len(states)} hidden states")
    if len({state.shape for state in states}) != 1 or probe.last.shape != states[0].shape:
        raise _error(
            model, name, f"hidden states of different shapes, {[tuple(s.shape) for s in states]}"
        )
    n_blocks = len(states) - 1
    lists = probe.sequences(n_blocks)
    if not lists:
        raise _error(
            model,
            name,
            f"it has {len(states)} hidden states, and calls no list of modules {n_blocks} times",
        )
    norm, raw, top_form = _top(probe, lists)
    if raw is None:
        raise _error(
            model, name, "its top hidden state is neither the last block's nor the final norm's"
        )
    entry = None
    from_0 = [calls for calls in lists if _are_numbered_from_0(states, raw, calls)]
    if not from_0:
        from_1 = [calls for calls in lists if _are_numbered_from_1(states, raw, calls)]
        if not from_1 or top_form is not TopForm.NORMED:
            raise _error(model, name, "its hidden states are not what its blocks read and give")
        entry = from_1[0][0].path
    blocks = next(filter(None, (_list_of(model, calls) for calls in from_0)), None)
    contract = Contract(
        n_blocks, states[0].shape[-1], top_form, norm, pads=True, entry=entry, blocks=blocks
    )
    return replace(contract, pads=_pads(contract, model, long, short, pad_id))


def _list_of(model: Any, calls: Sequence["Call"]) -> str | None:
    """Return the path of the list whose modules are called once each, in order; None if there is
    none.
    """
    path = calls[0].path.rpartition(".")[0]
    modules = model.get_submodule(path)
    expected = [f"{path}.{i}" for i in range(len(modules))] if hasattr(modules, "insert") else []
    return path if [call.path for call in calls] == expected else None


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the first argument of a call, by position or by name."""
    return args[0] if args else next(iter(kwargs.values()), None)


@dataclass
class Call:
    """One recorded call of the module at a path, with copies of its input and output tensors."""

    path: str
    kind: type
    inputs: list["Tensor"]
    outputs: list["Tensor"] = field(default_factory=list)


@dataclass(frozen=True)
class Probe:
    """The recorded forward pass of one text.

    Attributes:
        states: ``hidden_states`` of the output, each (1, t, dim).
        last: ``last_hidden_state`` of the output (1, t, dim).
        norms, numbered: Calls of the norms outside lists of modules, and of the members of these
            lists, in order.
    """

    states: Sequence["Tensor"]
    last: "Tensor"
    norms: Sequence[Call]
    numbered: Sequence[Call]

    @classmethod
    def run(cls, model: Any, inputs: Mapping[str, "Tensor"]) -> "Probe":
        """Run a model on one text, with inputs of shape (1, t), and record the calls."""
        norms: list[Call] = []
        numbered: list[Call] = []
        with ExitStack() as stack:
            for path, module in model.named_modules():
                if path.rpartition(".")[2].isdigit():
                    _watch(stack, module, path, numbered)
                elif "norm" in type(module).__name__.lower() and not any(
                    part.isdigit() for part in path.split(".")
                ):
                    _watch(stack, module, path, norms)
            outputs = model(**inputs, output_hidden_states=True, return_dict=True)
        return cls(outputs.hidden_states or (), outputs.last_hidden_state, norms, numbered)

    def sequences(self, n: int) -> list[Sequence[Call]]:
        """Return the candidates for the calls of n blocks: the n calls of one list of modules, or
        of one class.
        """
        groups: dict[str | type, list[Call]] = {}
        for call in self.numbered:
            groups.setdefault(call.path.rpartition(".")[0], []).append(call)
            groups.setdefault(call.kind, []).append(call)
        return [calls for calls in groups.values() if len(calls) == n]


def _top(
    probe: Probe, lists: Sequence[Sequence[Call]]
) -> tuple[str | None, "Tensor | None", TopForm | None]:
    """Return the path of the final norm, the top layer's state before it, and the form of
    ``hidden_states[L]``.

    The path is None without a final norm; the state is None if the top hidden state matches no
    block or norm.
    """
    top, last = probe.states[-1], probe.last
    if any(_is_any(last, blocks[-1].outputs) for blocks in lists):
        return None, (top if same(top, last) else None), None
    for path, call in {call.path: call for call in probe.norms}.items():
        if (
            call.inputs
            and call.inputs[0].shape == top.shape
            and len(call.outputs) == 1
            and same(last, call.outputs[0])
        ):
            raw = call.inputs[0]
            form = TopForm.NORMED if same(top, last) else TopForm.RAW if same(top, raw) else None
            return path, (raw if form else None), form
    return None, None, None


def _are_numbered_from_0(states: Sequence["Tensor"], raw: "Tensor", blocks: Sequence[Call]) -> bool:
    """Return whether ``hidden_states`` are the first block's input followed by the outputs of the
    blocks.
    """
    is_first, is_last = _is_any(states[0], blocks[0].inputs), _is_any(raw, blocks[-1].outputs)
    return is_first and is_last and _are_between(states[1:-1], blocks)


def _are_numbered_from_1(states: Sequence["Tensor"], raw: "Tensor", blocks: Sequence[Call]) -> bool:
    """Return whether ``hidden_states`` are the outputs of the blocks and the final norm, as in
    recurrent models.
    """
    reads_state = bool(blocks[0].inputs) and blocks[0].inputs[0].shape == raw.shape
    return reads_state and same(states[-2], raw) and _are_between(states[:-2], blocks)


def _are_between(states: Sequence["Tensor"], blocks: Sequence[Call]) -> bool:
    """Return whether each state is the output of a block, or the input of the next."""
    pairs = zip(states, blocks, blocks[1:], strict=False)
    return all(
        _is_any(state, before.outputs) or _is_any(state, after.inputs)
        for state, before, after in pairs
    )


def _is_any(state: "Tensor", recorded: Sequence["Tensor"]) -> bool:
    return any(same(state, tensor) for tensor in recorded)


def _pads(
    contract: Contract,
    model: Any,
    long: Mapping[str, "Tensor"],
    short: Mapping[str, "Tensor"],
    pad_id: int,
) -> bool:
    """Return whether padding leaves the states of a short text unchanged, to 1e-4 of their norm."""
    torch = need("torch")
    t = short["input_ids"].shape[1]
    n_pads = long["input_ids"].shape[1] - t
    rows = {}
    for name, row in long.items():
        filler = torch.full_like(row[:, :n_pads], pad_id if name == "input_ids" else 0)
        rows[name] = torch.cat([row, torch.cat([short[name], filler], dim=1)])
    unpadded, _ = contract.forward(model, short)
    padded, _ = contract.forward(model, rows)
    differences = [_difference(b[1, :t], a[0]) for a, b in zip(unpadded, padded, strict=True)]
    return max(differences) <= _TOLERANCE


def _difference(state: "Tensor", expected: "Tensor") -> float:
    """Return the largest difference of the states of a token, relative to the norm of the expected
    one.
    """
    scale = expected.norm(dim=-1).clamp_min(need("torch").finfo(expected.dtype).tiny)
    return float(((state - expected).norm(dim=-1) / scale).max())


def _error(model: Any, name: str, reason: str) -> CheckpointError:
    """Return the error for a model whose layers cannot be verified."""
    return CheckpointError(
        f"embstore cannot verify the layers of {name!r} ({type(model).__name__}): {reason}. "
        "The architecture is not supported."
    )


def same(state: "Tensor", recorded: "Tensor") -> bool:
    """Return whether a hidden state (1, t, dim) equals a recorded tensor bit for bit.

    The recorded tensor may be padded or transposed, or lack the first dimension. NaN equals NaN
    here: vectors with NaN are refused when they are written.
    """
    if recorded.ndim == 2:
        recorded = recorded[None]
    forms = (
        (recorded, recorded.transpose(0, 1), recorded.transpose(1, 2))
        if recorded.ndim == 3
        else (recorded,)
    )
    cut = [form[:, : state.shape[1]] for form in forms]
    return any(
        form.shape == state.shape and bool(((state == form) | (state.isnan() & form.isnan())).all())
        for form in cut
    )


def _watch(stack: ExitStack, module: Any, path: str, calls: list[Call]) -> None:
    """Hook a module so that its calls are appended to a list, in the order of their start."""
    running: list[Call] = []

    def begin(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        running.append(Call(path, type(module), _copies([*args, *kwargs.values()])))
        calls.append(running[-1])

    def end(_module: Any, _args: tuple[Any, ...], output: Any) -> None:
        values = output.values() if isinstance(output, Mapping) else output
        running.pop().outputs = _copies(
            [values] if hasattr(values, "is_floating_point") else values
        )

    stack.callback(module.register_forward_pre_hook(begin, with_kwargs=True).remove)
    stack.callback(module.register_forward_hook(end).remove)


def _copies(values: Iterable[Any]) -> list["Tensor"]:
    """Copy the floating-point tensors of two or more dimensions, since modules may overwrite theirs
    in place.
    """
    tensors = [value for value in values if hasattr(value, "is_floating_point")]
    return [tensor.clone() for tensor in tensors if tensor.is_floating_point() and tensor.ndim > 1]
