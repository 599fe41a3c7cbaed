"""The device to run on, and running out of its memory."""

import re
from typing import Any

from embstore.encode.extra import need, told
from embstore.errors import UsageError

_CPU = re.compile(
    r"can't allocate memory|not enough memory|cannot allocate memory|DefaultCPUAllocator|out of memory", re.I
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory; torch's CPU allocator says it in words only."""
    torch = need("torch")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and _CPU.search(str(error)) is not None
    )


def release(device: Any) -> None:
    """Give cached blocks back to the device, so that a smaller batch finds room."""
    torch = need("torch")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def pick(name: str | None) -> Any:
    """Return the torch device of that name; for None the first accelerator that is there, else the CPU.

    Raises:
        UsageError: the device is unknown or not there.
    """
    torch = need("torch")
    if name is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"the device {name!r} cannot be used: {told(error)}. Use --device cpu.") from error
    return device
