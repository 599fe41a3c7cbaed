"""Run batches through the model, several in parallel on a CPU."""

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import chain
from threading import local

from embstore.encode.extra import need
from embstore.encode.forward import Forward, Texts, halves
from embstore.encode.records import Encoded, Skipped

_Pending = Future[list[Encoded | Skipped] | None]

# <malloc.h>, GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20

_STATES_BYTES = 4 << 30
"""Maximum size of the hidden states of all batches that run in parallel on a CPU."""


def run(forward: Forward, stream: Iterable[Texts | Skipped], batch_tokens: int) -> Iterator[Encoded | Skipped]:
    """Run batches through the model, and yield their vectors in order.

    On a CPU each core runs its own batches, with a copy of the model that shares the weights, so that cores do not
    synchronise after each operation. On other devices one batch is prepared while another runs.

    Args:
        forward: Model with its poolings and layers.
        stream: Batches, and skipped items, which are passed through.
        batch_tokens: Maximum number of tokens per batch, with padding; halved on out-of-memory errors.
    """
    todo = iter(stream)
    head = _head(todo, _most_at_once(forward, batch_tokens))
    todo = chain(head, todo)
    limit = batch_tokens
    again: list[Texts] = []
    waiting: deque[tuple[Texts, _Pending]] = deque()
    with _workers(forward, max(1, sum(not isinstance(one, Skipped) for one in head))) as (n, submit):
        while True:
            while len(waiting) < 2 * n and (one := again.pop() if again else next(todo, None)) is not None:
                if isinstance(one, Skipped):
                    yield one
                elif len(one) > 1 and _size(one) > limit:
                    again += halves(one)[::-1]
                else:
                    waiting.append((one, submit(one)))
            if not waiting:
                return
            texts, future = waiting.popleft()
            if (results := future.result()) is not None:
                yield from results
                continue
            # Later batches are as large, so the limit stays reduced.
            limit = min(limit, _size(texts) // 2)
            called_off = [(other, pending) for other, pending in waiting if pending.cancel()]
            waiting = deque(pair for pair in waiting if pair not in called_off)
            again += [*(other for other, _ in reversed(called_off)), texts]


def _head(stream: Iterator[Texts | Skipped], n: int) -> list[Texts | Skipped]:
    """Read a stream until it has yielded ``n`` batches or ends."""
    head: list[Texts | Skipped] = []
    while n and (one := next(stream, None)) is not None:
        head.append(one)
        n -= not isinstance(one, Skipped)
    return head


def _most_at_once(forward: Forward, batch_tokens: int) -> int:
    """Return the number of parallel batches: on a CPU one per thread if their states fit in 4 GiB; elsewhere 1."""
    if forward.model.device.type != "cpu":
        return 1
    states = 4 * batch_tokens * forward.contract.dim * (forward.contract.n_blocks + 2)
    return int(min(need("torch").get_num_threads(), max(1, _STATES_BYTES // states)))


@contextmanager
def _workers(
    forward: Forward, n: int
) -> Iterator[tuple[int, Callable[[Texts], "Future[list[Encoded | Skipped] | None]"]]]:
    """Start worker threads that share torch's threads; give their number and a function that submits a batch."""
    torch, mine = need("torch"), local()
    _keep_freed_memory()
    n_threads = torch.get_num_threads()
    free = [forward, *(forward.twin() for _ in range(n - 1))]

    def begin() -> None:
        mine.forward = free.pop()
        torch.set_num_threads(max(1, n_threads // n))

    pool = ThreadPoolExecutor(n, "embstore-encoder", begin)
    try:
        yield n, lambda texts: pool.submit(lambda: mine.forward(texts))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


@cache
def _keep_freed_memory() -> None:
    """Configure glibc's allocator to keep freed memory for the next forward pass.

    By default glibc returns large freed blocks to the system, and each pass faults the same pages in again, which took
    15 percent of the time of MiniLM on 2 cores. The process then keeps the memory until it ends.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 64 << 20)


def _c_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except TypeError:  # Windows has no library without a name
        return None


def _size(texts: Texts) -> int:
    return len(texts) * max(len(text.ids) for text in texts)
