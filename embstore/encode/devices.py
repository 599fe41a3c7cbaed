"""Select the torch device, and detect out-of-memory errors."""

import re
from typing import Any

from embstore.base.errors import UsageError
from embstore.encode.extra import first_sentence, need

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|cannot allocate memory|DefaultCPUAllocator|out of memory", re.I
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory; torch's CPU allocator raises RuntimeError, told by its message."""
    torch = need("torch")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )


def free_cached_memory(device: Any) -> None:
    """Free torch's cached memory of a device, so that a smaller batch may fit."""
    torch = need("torch")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def choose_device(name: str | None) -> Any:
    """Return the torch device of a name; by default CUDA if available, else MPS, else the CPU.

    Raises:
        UsageError: The device is unknown or not available.
    """
    torch = need("torch")
    if name is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"the device {name!r} cannot be used: {first_sentence(error)}. Use ⦃device=cpu⦄.") from error
    return device
