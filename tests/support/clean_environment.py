"""The environment of the tests: none of the user's settings, caches and stores."""

import os
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


def enter(home: Path) -> None:
    """Take the user's settings out of this process's environment, and make ``home`` the home folder.

    Args:
        home: An empty folder. Every library looks for its caches and data in it, and finds none.
    """
    for name in [name for name in os.environ if name.startswith(_FOREIGN) and not name.startswith(_PASSING)]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode, each process that imports torch takes 6 s more
    os.environ.update(
        HOME=str(home),
        USERPROFILE=str(home),
        EMBSTORE_DATA=str(home / "no-datasets"),  # does not exist: a test that needs datasets makes a folder of its own
        HF_HUB_OFFLINE="1",
        OMP_WAIT_POLICY="PASSIVE",  # tests share the cores with each other
    )
