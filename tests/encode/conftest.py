"""Checkpoints for the encoder's tests; torch is loaded only by the tests that ask for one."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make the tiny checkpoint of an architecture, once a session."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from encode_models import TINY

    root = tmp_path_factory.mktemp("tiny")
    return cache(lambda name: TINY[name](root / name))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]):
    """Load the tiny checkpoint of an architecture on the CPU, once a session."""
    from embstore.encode import Encoder, resolve

    return cache(lambda name: Encoder(resolve(f"{name}={tiny_folder(name)}"), device="cpu"))
