"""The environment of the tests: none of the user's settings, caches and stores."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_FOREIGN = (
    "EMBSTORE_",
    "HF_",
    "HUGGINGFACE_",
    "HUGGING_FACE_",
    "SENTENCE_TRANSFORMERS_",
    "TRANSFORMERS_",
    "TORCH_",
    "XDG_",
)
_PASSING = "EMBSTORE_TEST_"  # how much of the larger fault tests is run

_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 8 << 30  # several times what the tests write


def use_memory():
    """Keep temporary folders in memory if there is much of it: a third of the time would go to
    flushing disks.
    """
    if (
        os.access(_MEMORY, os.W_OK)
        and min(shutil.disk_usage(_MEMORY).free, _available_bytes()) >= _NEEDED_BYTES
    ):
        os.environ.setdefault("TMPDIR", str(_MEMORY))
        tempfile.tempdir = None  # it is looked for again


def _available_bytes():
    """Return the memory that the machine has left, in bytes; 0 where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text("utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 0


def enter(home):
    """Take the user's settings out of this process's environment, and make ``home`` the home
    folder.

    Args:
        home: An empty folder. Every library looks for its caches and data in it, and finds none.
    """
    for name in [
        name for name in os.environ if name.startswith(_FOREIGN) and not name.startswith(_PASSING)
    ]:
        del os.environ[name]
    # Without bytecode, each process that imports torch takes 6 s more.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Does not exist: a test that needs datasets makes a folder of its own.
    os.environ.update(
        HOME=str(home),
        USERPROFILE=str(home),
        EMBSTORE_DATA=str(home / "no-datasets"),
        HF_HUB_OFFLINE="1",
        OMP_WAIT_POLICY="PASSIVE",  # tests share the cores with each other
    )
