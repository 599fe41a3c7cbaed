"""What a model's hidden states are: verified by running it on two short texts, never assumed from its name."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from embstore.encode.extra import need
from embstore.errors import CheckpointError
from embstore.space import TopForm

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Contract:
    """What holds for a model's hidden states.

    Attributes:
        n_blocks: L; ``hidden_states`` has L + 1 members.
        dim: their common width.
        top_form: which side of the final norm ``hidden_states[L]`` is from; None without a final norm.
        norm: the path of the final norm's module; None without one.
        pads: whether padding leaves the real tokens unchanged (within 1e-4 of their norm).
    """

    n_blocks: int
    dim: int
    top_form: TopForm | None
    norm: str | None
    pads: bool

    def forward(self, model: Any, inputs: Mapping[str, "Tensor"]) -> tuple[list["Tensor"], "Tensor"]:
        """Run the model.

        Args:
            model: the transformers model that the contract is of.
            inputs: its tensors (n, t).

        Returns:
            The hidden states as transformers gives them, each (n, t, dim), with the top layer's other form at the end
            where there is a norm; and the last hidden state (n, t, dim).
        """
        sides: list[tuple[Tensor, Tensor]] = []

        def record(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            sides.append((_first(args, kwargs), output))

        with ExitStack() as stack:
            if self.norm is not None:
                norm = model.get_submodule(self.norm)
                stack.callback(norm.register_forward_hook(record, with_kwargs=True).remove)
            outputs = model(**inputs, output_hidden_states=True, return_dict=True)
        states = list(outputs.hidden_states)
        if sides:
            raw, normed = sides[-1]
            states.append(raw if self.top_form is TopForm.NORMED else normed)
        return states, outputs.last_hidden_state


def verify(model: Any, name: str, long: Mapping[str, "Tensor"], short: Mapping[str, "Tensor"], pad_id: int) -> Contract:
    """Find out how the model's layers are to be read.

    ``hidden_states`` must be the embeddings and one state for each block; the top one must be what the last numbered
    block gives (``raw``), or that after the final norm (``normed``), where the final norm is the module outside the
    blocks that gives ``last_hidden_state``.

    Args:
        model: a transformers model.
        name: the checkpoint's name, for the message.
        long: the inputs of a text of several tokens (1, t).
        short: the inputs of a shorter text.
        pad_id: the token id that pads it to the longer one's length.

    Raises:
        CheckpointError: the layers are none of these.
    """
    probe = _Probe(model, long)
    n_blocks = getattr(model.config, "num_hidden_layers", None)
    states = probe.states
    if not isinstance(n_blocks, int) or len(states) != n_blocks + 1:
        raise _refusal(model, name, f"{len(states)} hidden states for {n_blocks} blocks")
    if len({state.shape for state in states}) != 1 or probe.last.shape != states[0].shape:
        raise _refusal(model, name, f"hidden states of different shapes, {[tuple(s.shape) for s in states]}")
    norm, raw, top_form = probe.top()
    if raw is None or not probe.is_block_output(raw):
        raise _refusal(model, name, "its top hidden state is neither the last block's nor the final norm's")
    contract = Contract(n_blocks, states[0].shape[-1], top_form, norm, pads=True)
    return replace(contract, pads=_pads(contract, model, long, short, pad_id))


class _Probe:
    """One forward pass in which every norm outside the blocks, and every numbered module, is watched."""

    def __init__(self, model: Any, inputs: Mapping[str, "Tensor"]) -> None:
        self.norms: dict[Any, tuple[Tensor, Tensor]] = {}
        self.outputs: dict[Any, Tensor] = {}
        self._paths = {module: path for path, module in model.named_modules()}
        with ExitStack() as stack:
            for module, path in self._paths.items():
                parts = path.split(".")
                numbered = [part.isdigit() for part in parts]
                if numbered[-1] or (_is_norm(module) and not any(numbered)):
                    stack.callback(module.register_forward_hook(self._record, with_kwargs=True).remove)
            outputs = model(**inputs, output_hidden_states=True, return_dict=True)
        self.states: tuple[Tensor, ...] = outputs.hidden_states or ()
        self.last: Tensor = outputs.last_hidden_state

    def _record(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        first = _first(args, kwargs)
        result = output[0] if isinstance(output, tuple) else output
        if hasattr(result, "shape"):
            self.outputs[module] = result
            if hasattr(first, "shape"):
                self.norms[module] = first, result

    def top(self) -> tuple[str | None, "Tensor | None", TopForm | None]:
        """The final norm's path, the top state before it, and which of its sides is ``hidden_states[L]``."""
        top = self.states[-1]
        for norm, (raw, normed) in self.norms.items():
            if _is_norm(norm) and _same(normed, self.last):
                form = TopForm.NORMED if _same(top, normed) else TopForm.RAW if _same(top, raw) else None
                if form is not None and not self.is_block_output(normed):
                    return self._paths[norm], raw, form
        return None, (top if _same(top, self.last) else None), None

    def is_block_output(self, state: "Tensor") -> bool:
        """Whether a numbered module gave this state."""
        return any(_same(state, out) for module, out in self.outputs.items() if not _is_norm(module))


def _is_norm(module: Any) -> bool:
    return "norm" in type(module).__name__.lower()


def _same(a: "Tensor", b: "Tensor") -> bool:
    # NaN counts as equal: a broken checkpoint is refused where its vectors are written, with the text.
    return a is b or (a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all()))


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()), None)


def _pads(
    contract: Contract, model: Any, long: Mapping[str, "Tensor"], short: Mapping[str, "Tensor"], pad_id: int
) -> bool:
    torch = need("torch")
    t = short["input_ids"].shape[1]
    more = long["input_ids"].shape[1] - t
    rows = {}
    for name, row in long.items():
        filler = torch.full_like(row[:, :more], pad_id if name == "input_ids" else 0)
        rows[name] = torch.cat([row, torch.cat([short[name], filler], dim=1)])
    alone, _ = contract.forward(model, short)
    beside, _ = contract.forward(model, rows)
    differences = [
        (b[1, :t] - a[0]).norm(dim=-1) / a[0].norm(dim=-1).clamp_min(torch.finfo(a.dtype).tiny)
        for a, b in zip(alone, beside, strict=True)
    ]
    return bool(torch.stack(differences).max() <= _TOLERANCE)


def _refusal(model: Any, name: str, why: str) -> CheckpointError:
    return CheckpointError(
        f"embstore cannot verify the layers of {name!r} ({type(model).__name__}): {why}. "
        "The architecture is not supported."
    )
