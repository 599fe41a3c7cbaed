"""A store that was tampered with does no harm, whatever is asked of it: nothing outside changes,
and nothing hangs.
"""

import os
import shutil

import pytest
from fault_figures import FAULTS
from received_stores import is_of_several_files, limit, outside
from tampered_stores import EVERY, SPACE, TAMPERINGS
from typer.testing import CliRunner

pytestmark = pytest.mark.fault


def commands(folder, checkpoint):
    """Every command on the store; first those that only read it."""
    store = ("--store", folder / "store")
    return {
        "verify": ("verify", *store),
        "info": ("info", *store),
        "info --skipped": ("info", "--skipped", *store),
        "anisotropy": ("query", "anisotropy", *store),
        "partition": ("query", "partition", "--space", SPACE, "--layer", "0", *store),
        "where": ("query", "norms", "--where", "length(text) > 3", "--no-cache", *store),
        "by": (
            "query",
            "norms",
            "--by",
            "text",
            "--space",
            SPACE,
            "--layer",
            "0",
            "--words",
            "text1,text2",
            *store,
        ),
        "explain": ("query", "partition", "--explain", *store),
        "neighbours": ("neighbours", "text1", "--layer", "all", *store),
        "cosine": ("cosine", "text1", "text2", *store),
        "exact": ("neighbours", "text1", "--exact", "--layer", "all", *store),
        "missing": ("datasets", "missing", "words", *store),
        "columns": ("query", "norms", "--where", "freq > 2", "--no-cache", *store),
        "repair --dry-run": ("repair", "--dry-run", *store),
        "compact --dry-run": ("compact", "--dry-run", *store),
        "build --dry-run": (
            "build",
            folder / "words.txt",
            "--model",
            f"tiny={checkpoint}",
            "--dry-run",
            "-q",
            *store,
        ),
        "push": ("push", folder / "pushed", *store),
        "pull": ("pull", folder / "store", "--store", folder / "pulled"),
        "export": ("export", folder / "out.csv", "--space", SPACE, "--layer", "0", *store),
        "merge from": ("merge", folder / "store", "--store", folder / "other"),
        "build": ("build", folder / "words.txt", "--model", f"tiny={checkpoint}", "-q", *store),
        "datasets store": ("datasets", "store", "words:5", *store),
        "merge into": ("merge", folder / "other", *store),
        "index": ("index", "--force", *store),
        "compact": ("compact", *store),
        "repair": ("repair", *store),
        "remove": ("remove", "--space", SPACE, "--yes", *store),
    }


WRITERS = ("build", "merge into", "index", "compact", "datasets store", "repair", "remove")
WRITTEN = {"merge from": "other", "push": "pushed", "pull": "pulled", "export": "out.csv"}


@pytest.mark.parametrize("case", TAMPERINGS, ids=lambda case: case.name)
def test_no_command_is_led_outside(case, template, checkpoint, tmp_path, monkeypatch, tally):
    counts = tally("tampered store", case.name.partition(":")[0])
    folder = tmp_path / "all"
    monkeypatch.chdir(tmp_path)  # where a pickle would make a folder
    first = TAMPERINGS.index(case) % 3
    for number, (name, arguments) in enumerate(commands(folder, checkpoint).items()):
        # A third of them, other ones for the next store, and those that read the file.
        if not FAULTS and number % 3 != first and name not in ("verify", *case.refusing):
            continue
        if name in WRITERS or not folder.exists():  # the others change nothing
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(template, folder)
            path = case.tamper(folder / "store")
            before = outside(folder)
        counts["faults"] += 1
        result = run(arguments)
        outcome = f"{name}: {result.exit_code}, {result.output} {result.exception!r}"
        assert result.exception is None or isinstance(result.exception, SystemExit), outcome
        assert result.exit_code in (0, 1, 2), outcome
        after = outside(folder)
        assert _elsewhere(name, after) == _elsewhere(name, before), outcome
        assert os.listdir(tmp_path) == ["all"], outcome
        before = after
        if name == "verify":
            assert (result.exit_code == 0) == (case.sound or case.hidden), outcome
        elif name in case.refusing or (case.refusing == EVERY and name != "explain"):
            assert result.exit_code == 2, outcome
        if result.exit_code == 2 and not case.sound:
            assert path.name in "".join(result.output.split()) or is_of_several_files(
                result.output
            ), outcome
    shutil.rmtree(folder)


def _elsewhere(name, found):
    """Return what is not where a command may write."""
    return {
        path: state
        for path, state in found.items()
        if name not in WRITTEN or not path.startswith(WRITTEN[name])
    }


def run(arguments):
    from embstore_cli.main import app

    with limit():
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_template_is_sound_and_every_command_works_on_it(template, checkpoint, tmp_path):
    """Else a refusal of a tampered store would say nothing."""
    folder = tmp_path / "all"
    for name, arguments in commands(folder, checkpoint).items():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        result = run(arguments)
        assert result.exit_code == 0, f"{name}: {result.output}"
