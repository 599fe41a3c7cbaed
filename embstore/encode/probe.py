"""Run a forward pass and record the inputs and outputs of the blocks and norms."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Call:
    """One recorded call of a module.

    Attributes:
        path: Path of the module in the model.
        kind: Class of the module.
        inputs: Copies of its input tensors.
        outputs: Copies of its output tensors.
    """

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
        norms: Calls of the norms outside lists of modules.
        numbered: Calls of the members of lists of modules, in order.
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
                elif is_norm(module) and not any(part.isdigit() for part in path.split(".")):
                    _watch(stack, module, path, norms)
            outputs = model(**inputs, output_hidden_states=True, return_dict=True)
        return cls(outputs.hidden_states or (), outputs.last_hidden_state, norms, numbered)

    def sequences(self, n: int) -> list[Sequence[Call]]:
        """Return the candidates for the calls of n blocks: the n calls of one list of modules, or of one class."""
        groups: dict[str | type, list[Call]] = {}
        for call in self.numbered:
            groups.setdefault(call.path.rpartition(".")[0], []).append(call)
            groups.setdefault(call.kind, []).append(call)
        return [calls for calls in groups.values() if len(calls) == n]


def is_norm(module: Any) -> bool:
    """Return whether a module is a norm, by the name of its class."""
    return "norm" in type(module).__name__.lower()


def same(state: "Tensor", recorded: "Tensor") -> bool:
    """Return whether a hidden state (1, t, dim) equals a recorded tensor bit for bit.

    The recorded tensor may be padded or transposed, or lack the first dimension. NaN equals NaN here: vectors with NaN
    are refused when they are written.
    """
    if recorded.ndim == 2:
        recorded = recorded[None]
    forms = (recorded, recorded.transpose(0, 1), recorded.transpose(1, 2)) if recorded.ndim == 3 else (recorded,)
    return any(_equal(state, form) for form in forms)


def _equal(state: "Tensor", form: "Tensor") -> bool:
    form = form[:, : state.shape[1]]
    return form.shape == state.shape and bool(((state == form) | (state.isnan() & form.isnan())).all())


def _watch(stack: ExitStack, module: Any, path: str, calls: list[Call]) -> None:
    """Hook a module so that its calls are appended to a list, in the order of their start."""
    running: list[Call] = []

    def begin(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        running.append(Call(path, type(module), _copies([*args, *kwargs.values()])))
        calls.append(running[-1])

    def end(_module: Any, _args: tuple[Any, ...], output: Any) -> None:
        values = output.values() if isinstance(output, Mapping) else output
        running.pop().outputs = _copies([values] if hasattr(values, "is_floating_point") else values)

    stack.callback(module.register_forward_pre_hook(begin, with_kwargs=True).remove)
    stack.callback(module.register_forward_hook(end).remove)


def _copies(values: Iterable[Any]) -> list["Tensor"]:
    """Copy the floating-point tensors of two or more dimensions, since modules may overwrite theirs in place."""
    tensors = [value for value in values if hasattr(value, "is_floating_point")]
    return [tensor.clone() for tensor in tensors if tensor.is_floating_point() and tensor.ndim > 1]
