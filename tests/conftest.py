"""What all tests share."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fault_figures
import pytest
from synthetic import Synthetic, synthetic_store

from embstore.storage import duck

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: tests share the machine with others
# Nobody's own datasets: a folder that does not exist, until a test makes one of its own.
os.environ["EMBSTORE_DATA"] = os.path.join(tempfile.gettempdir(), f"embstore-without-datasets-{os.getpid()}")

SHARED = Path(__file__).parents[2] / "shared"


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores, since many tests wait for the disk and for other processes."""
    return min(4, (os.cpu_count() or 1) + 1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the fault tests; here, since xdist's own process does not load the conftest of a folder."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for number, line in enumerate(fault_figures.lines(fault_figures.told(reports))):
        if not number:
            terminalreporter.section("faults")
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="session")
def one_duckdb() -> Iterator[None]:
    """Hold the DuckDB that stores share: to open one anew for each store takes longer than most tests do."""
    held = duck.shared()
    yield
    del held


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Synthetic]:
    """Write a synthetic space into ``tmp_path / "store"`` (see :func:`synthetic.synthetic_store` for the arguments)."""

    def make(root: Path | str = "store", **arguments: object) -> Synthetic:
        return synthetic_store(tmp_path / root, **arguments)

    return make


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where datasets are kept during a test: a folder that is not there yet."""
    monkeypatch.setenv("EMBSTORE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def shared() -> Path:
    """The folder ``../shared`` of the project's workplace; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 in a folder called ``tiny`` (see :mod:`tiny_checkpoint`)."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tiny_checkpoint import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")
