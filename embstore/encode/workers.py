"""Batches through the model, several at once where that is faster."""

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
"""How much the hidden states of all batches that are in the model at once may take, on a CPU."""


def run(forward: Forward, stream: Iterable[Texts | Skipped], batch_tokens: int) -> Iterator[Encoded | Skipped]:
    """Run batches through the model, and yield their vectors in the order of the batches.

    On a CPU every core runs batches of its own, through a twin of the model: no core then waits for the others after
    each operation, and a busy neighbour slows one of them, not all. Elsewhere one batch is prepared while another runs.

    Args:
        forward: the model.
        stream: batches, and what is only passed on.
        batch_tokens: the tokens of a batch, padding counted. Halved where the memory does not suffice.
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
            # Later batches are as large: what did not fit once is not tried again.
            limit = min(limit, _size(texts) // 2)
            called_off = [(other, pending) for other, pending in waiting if pending.cancel()]
            waiting = deque(pair for pair in waiting if pair not in called_off)
            again += [*(other for other, _ in reversed(called_off)), texts]


def _head(stream: Iterator[Texts | Skipped], n: int) -> list[Texts | Skipped]:
    """Take what comes until there are ``n`` batches."""
    head: list[Texts | Skipped] = []
    while n and (one := next(stream, None)) is not None:
        head.append(one)
        n -= not isinstance(one, Skipped)
    return head


def _most_at_once(forward: Forward, batch_tokens: int) -> int:
    """Return how many batches may be in the model at once: on a CPU one for each core, if the memory suffices."""
    if forward.model.device.type != "cpu":
        return 1
    states = 4 * batch_tokens * forward.contract.dim * (forward.contract.n_blocks + 2)
    return int(min(need("torch").get_num_threads(), max(1, _STATES_BYTES // states)))


@contextmanager
def _workers(
    forward: Forward, n: int
) -> Iterator[tuple[int, Callable[[Texts], "Future[list[Encoded | Skipped] | None]"]]]:
    """Give the number of workers, and what submits a batch to them. They share torch's threads between them."""
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
    """Let the process keep the memory of one pass for the next, where the C library is GNU's.

    By default glibc returns large blocks to the system when they are freed, and each pass faults the same pages in
    again: that took 15 percent of the passes of MiniLM on 2 cores. The memory is the process's until it ends.
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
