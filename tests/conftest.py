"""What all tests share."""

import gc
import math
import os
import signal
import tempfile
from contextlib import chdir
from pathlib import Path

import clean_environment

clean_environment.use_memory()
# What the tests have started, as a browser, may write there for a moment after it was ended.
HOME = tempfile.TemporaryDirectory(prefix="embstore-tests-", ignore_cleanup_errors=True)
# Before huggingface_hub and torch are imported, which read variables once.
clean_environment.enter(Path(HOME.name))

import fault_figures  # noqa: E402
import fuzzing  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from synthetic import synthetic_store  # noqa: E402

from embstore.storage.sql import connections  # noqa: E402

# The machines are shared: no test is timed, nor are its examples. They are the same each time, as
# in the fuzz tests.
settings.register_profile(
    "untimed",
    deadline=None,
    derandomize=not fuzzing.FACTOR,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("untimed")

# As in a job in the background, and in all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared"
LATER = "process or server or fault or docs or slow"
"""The tests that plain ``pytest`` leaves out: ``pytest tests`` runs all, and ``pytest -m '…'`` only
these.
"""


def pytest_configure(config):
    """Leave out the tests of these markers if neither tests nor markers are named; so does each
    process of xdist.
    """
    is_plain = (
        config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    )
    if is_plain and not config.option.markexpr:
        config.option.markexpr = f"not ({LATER})"


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect the tests without collecting garbage, and spare later collections what the tests and
    imports made.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure():
    """Remove the home folder of the tests, and let this process end without collecting what the
    libraries made.
    """
    HOME.cleanup()
    gc.freeze()


def pytest_xdist_auto_num_workers():
    """Return one process more than there are cores, since many tests wait for the disk and for
    other processes.
    """
    return min(4, (os.cpu_count() or 1) + 1)


def pytest_terminal_summary(terminalreporter):
    """Print the figures of the fault tests; here, since xdist's own process does not load the
    conftest of a folder.
    """
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for number, line in enumerate(fault_figures.lines(fault_figures.figures(reports))):
        if not number:
            terminalreporter.section("faults")
        terminalreporter.write_line(line)


@pytest.fixture
def tally(request):
    """Begin a tally of a fault, and of what it befalls; its figures come in the last lines of
    pytest.
    """
    tallies = []

    def begin(fault, of):
        tallies.append(fault_figures.Tally(fault, of))
        return tallies[-1]

    yield begin
    request.node.user_properties += [each.as_property() for each in tallies]


@pytest.fixture(autouse=True, scope="session")
def empty_folder():
    """Run the tests, and what they share, in an empty folder: where a clone is, a build may have
    left a store.
    """
    folder = Path(HOME.name) / "empty"
    folder.mkdir()
    with chdir(folder):
        yield folder


@pytest.fixture(autouse=True)
def still_empty_folder(empty_folder):
    """Fail a test that writes where it was started, since the next one would find it."""
    yield
    assert not (left := os.listdir(empty_folder)), (
        f"the test wrote {left} into its working directory"
    )


@pytest.fixture(autouse=True, scope="session")
def unflushed():
    """Flush nothing: where the tests are not in memory, that takes most of the time of a small
    store.

    What a loss of power leaves is tested by a record of the flushes (:mod:`power_loss`), which
    notes these too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_duckdb():
    """Hold the DuckDB that stores share: to open one anew for each store takes longer than most
    tests do.
    """
    shared_connection = connections.open_shared()
    yield
    del shared_connection


@pytest.fixture(autouse=True, scope="session")
def untimed_progress():
    """Show no progress of brief steps, unless a test sets the time from which on it is shown:
    machines differ.
    """
    from embstore.base import progress

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "_SECONDS_TO_FIRST", math.inf)
        yield


@pytest.fixture
def make_store(tmp_path):
    """Write a synthetic space into ``tmp_path / "store"`` (see :func:`synthetic.synthetic_store`
    for the arguments).
    """

    def make(root="store", **arguments):
        return synthetic_store(tmp_path / root, **arguments)

    return make


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run the command line in this process, in an empty folder; it must end with exit code 0, or
    with ``code``.
    """
    from embstore_cli.main import app
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0, **options):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def refusal(cli):
    """Run a command that must be refused, with exit code 2 and no result; return what is said of
    it, as one line.
    """

    def run(*arguments, **options):
        result = cli(*arguments, code=2, **options)
        assert result.stdout == ""
        return " ".join(result.stderr.split())

    return run


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Where datasets are kept during a test: a folder that is not there yet."""
    monkeypatch.setenv("EMBSTORE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def shared():
    """The folder ``../shared`` of the project's workplace; the test is skipped where there is
    none.
    """
    if not SHARED.is_dir():
        pytest.skip(f"compares with the folder {SHARED}, which is no part of a clone")
    return SHARED


@pytest.fixture
def published_files():
    """The folder that EMBSTORE_TEST_DATA names, or the workplace's, with the files of datasets."""
    folder = Path(os.environ.get("EMBSTORE_TEST_DATA", SHARED / "data"))
    if not folder.is_dir():
        names = "rg65 wordsim353 simlex999 simverb3500 stsb bellezza"
        pytest.skip(
            f"needs published files: EMBSTORE_DATA=FOLDER embstore datasets fetch {names}, then"
            " EMBSTORE_TEST_DATA=FOLDER"
        )
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny GPT-2 in a folder called ``tiny`` (see :mod:`tiny_checkpoint`)."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tiny_checkpoint import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")
