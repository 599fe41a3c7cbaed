"""The peak memory of some work, in a process of its own: without files that it maps, which the
system may take back.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What is freed goes back to the system at once, whatever the threads and the load: glibc keeps the
# memory of each thread, and blocks the larger the longer a process runs.
_ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
# Not ru_maxrss: a process that is started keeps the peak of the one that starts it.
_SCRIPT = """
import re
from pathlib import Path
def peak():
    status = Path("/proc/self/status").read_text()
    names = ("VmHWM", "RssFile", "RssShmem")
    peak, *mapped = (int(re.search(rf"{{name}}:\\s+(\\d+)", status)[1]) for name in names)
    return peak - sum(mapped)
{prepare}
before = peak()
{work}
print(peak(), peak() - before)
"""


def peak(work, prepare=""):
    """Return the peak of a process, and how much of it came after what prepares the work, in kB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process is read from /proc")
    code = _SCRIPT.format(prepare=prepare, work=work)
    done = subprocess.run(
        (sys.executable, "-W", "ignore", "-c", code),
        capture_output=True,
        text=True,
        env=os.environ | _ALLOCATOR,
    )
    assert done.returncode == 0, done.stderr
    total, grown = map(int, done.stdout.split()[-2:])  # the work may print too
    return total, grown
