"""Run batches through the model, on a CPU several in parallel."""

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from threading import local

from embstore.encode.extra import need
from embstore.encode.forward import Forward, Texts, halves
from embstore.encode.records import Encoded, Skipped

_Pending = Future[list[Encoded | Skipped] | None]

# <malloc.h>, GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MAX_MMAP_THRESHOLD = 32 << 20

_STATES_BYTES = 4 << 30
"""Maximum size of the hidden states of all batches that run in parallel on a CPU."""


def run(
    forward: Forward, stream: Iterable[Texts | Skipped], batch_tokens: int, *, steady: bool = False
) -> Iterator[Encoded | Skipped]:
    """Run batches through the model, and yield their vectors in order.

    On a CPU each core runs its own batches, with a copy of the model that shares the weights, so that cores do not
    synchronise after each operation. On other devices one batch is prepared while another runs.

    Args:
        forward: Model with its poolings and layers.
        stream: Batches, and skipped items, which are passed through.
        batch_tokens: Maximum number of tokens per batch, with padding; halved on out-of-memory errors.
        steady: Whether a batch gets as few threads as if many followed, even if only a few do.
    """
    unread = iter(stream)
    most = _max_parallel(forward, batch_tokens)
    first = _read_batches(unread, most)
    unread = chain(first, unread)
    limit = batch_tokens
    repeated: list[Texts] = []  # batches to run again, the next one last
    running: deque[tuple[Texts, _Pending]] = deque()
    n_first = max(1, sum(not isinstance(batch, Skipped) for batch in first))
    with _workers(forward, n_first, most if steady else n_first) as (n, submit):
        while True:
            while len(running) < 2 * n and (batch := repeated.pop() if repeated else next(unread, None)) is not None:
                if isinstance(batch, Skipped):
                    yield batch
                elif len(batch) > 1 and _size(batch) > limit:
                    repeated += halves(batch)[::-1]
                else:
                    running.append((batch, submit(batch)))
            if not running:
                return
            texts, future = running.popleft()
            if (results := future.result()) is not None:
                yield from results
                continue
            # Out of memory. Later batches are as large, so the limit stays reduced.
            limit = min(limit, _size(texts) // 2)
            cancelled = [(other, pending) for other, pending in running if pending.cancel()]
            running = deque(pair for pair in running if pair not in cancelled)
            repeated += [*(other for other, _ in reversed(cancelled)), texts]


def _read_batches(stream: Iterator[Texts | Skipped], n: int) -> list[Texts | Skipped]:
    """Read a stream up to its ``n``-th batch, skipped items included."""
    members: list[Texts | Skipped] = []
    while n and (member := next(stream, None)) is not None:
        members.append(member)
        n -= not isinstance(member, Skipped)
    return members


def _max_parallel(forward: Forward, batch_tokens: int) -> int:
    """Return the maximum number of parallel batches: on a CPU one per thread if their states fit in 4 GiB, else 1."""
    if forward.model.device.type != "cpu":
        return 1
    states = 4 * batch_tokens * forward.contract.dim * (forward.contract.n_blocks + 2)
    return int(min(need("torch").get_num_threads(), max(1, _STATES_BYTES // states)))


@contextmanager
def _workers(forward: Forward, n: int, n_shares: int) -> Iterator[tuple[int, Callable[[Texts], _Pending]]]:
    """Start worker threads; give their number and a function that submits a batch.

    Args:
        forward: Model with its poolings and layers.
        n: Number of worker threads.
        n_shares: Number of equal shares of torch's threads, of which each worker thread gets one.
    """
    torch, thread = need("torch"), local()
    _keep_freed_memory()
    n_threads = torch.get_num_threads()
    copies = [forward, *(forward.thread_copy() for _ in range(n - 1))]

    def begin() -> None:
        thread.forward = copies.pop()
        torch.set_num_threads(max(1, n_threads // n_shares))

    pool = ThreadPoolExecutor(n, "embstore-encoder", begin)
    try:
        yield n, lambda texts: pool.submit(lambda: thread.forward(texts))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


@cache
def _keep_freed_memory() -> None:
    """Configure glibc's allocator to keep freed memory for the next forward pass.

    By default glibc returns large freed blocks to the system, and each pass faults the same pages in again, which took
    15 percent of the time of MiniLM on 2 cores. The process then keeps the memory until it ends.
    """
    with suppress(TypeError, AttributeError):  # Windows has no library without a name, other systems no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 64 << 20)


def _size(texts: Texts) -> int:
    return len(texts) * max(len(text.ids) for text in texts)
