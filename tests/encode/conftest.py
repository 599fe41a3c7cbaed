"""Checkpoints for the encoder's tests; torch is loaded only by the tests that ask for one."""

import shutil
from functools import cache
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Make the tiny checkpoint of an architecture, once a session."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from encode_models import TINY

    root = tmp_path_factory.mktemp("tiny")
    return cache(lambda name: TINY[name](root / name))


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    """Load the tiny checkpoint of an architecture on the CPU, once a session."""
    from embstore.encode.checkpoint import resolve
    from embstore.encode.forward import Encoder

    return cache(lambda name: Encoder(resolve(f"{name}={tiny_folder(name)}"), device="cpu"))


@pytest.fixture(scope="session")
def witness(tiny_folder):
    """Load the tiny checkpoint of an architecture by transformers alone, once a session."""
    from encode_witness import Witness

    return cache(lambda name: Witness(tiny_folder(name)))


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """Copy the tiny checkpoint of an architecture, so that it can be changed."""
    return lambda name: Path(shutil.copytree(tiny_folder(name), tmp_path / name))
