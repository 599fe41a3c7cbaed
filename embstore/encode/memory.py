"""Running out of memory, on every device that torch has."""

import re
from typing import Any

from embstore.encode.extra import need

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
