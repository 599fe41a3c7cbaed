"""When a test has hung, and how much a command may compute: neither depends on what else the
machine does.
"""

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

HUNG_SECONDS = 900.0
"""Seconds after which what a test waits for is taken not to come; it only ends tests that hang."""


def wait_until(condition, what, pause=lambda: time.sleep(0.02)):
    """Wait until a condition holds.

    Args:
        condition: Function that returns whether it does.
        what: What is waited for, named if it does not come.
        pause: Function that lets a moment pass.
    """
    end = time.monotonic() + HUNG_SECONDS
    while not condition():
        assert time.monotonic() < end, f"it has not come after {HUNG_SECONDS:g} s: {what}"
        pause()


@contextmanager
def cpu_limit(seconds, error):
    """Raise an error in the main thread if this process computes for too long within the context,
    or hangs.

    Args:
        seconds: CPU time of all threads of this process.
        error: Type of the error.
    """

    def stop(number, _):
        raise error(
            f"more than {seconds:g} s of CPU time"
            if number == signal.SIGPROF
            else f"hung: {HUNG_SECONDS:g} s"
        )

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, HUNG_SECONDS),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def cpu_seconds(process_id):
    """Return the CPU time that a process has used; 0 once it has ended, and on systems without
    ``/proc``.
    """
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    user, system = status.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
