"""A store that was tampered with does no harm, whatever is asked of it: nothing outside changes, and nothing hangs."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from fault_figures import FAULTS
from index_cache import close_cached_indexes
from received_stores import limit, outside
from synthetic import synthetic_store
from tampered_stores import ALL, MENDED, NONE, SPACE, TAMPERINGS, WRITERS, WRONG_SHARDS
from typer.testing import CliRunner, Result

pytestmark = pytest.mark.fault


def commands(folder: Path, checkpoint: Path) -> dict[str, Sequence[str | Path]]:
    """Every command on the store; first those that only read it."""
    store = ("--store", folder / "store")
    return {
        "verify": ("verify", *store),
        "verify --deep": ("verify", "--deep", *store),
        "info": ("info", *store),
        "info --skipped": ("info", "--skipped", *store),
        "anisotropy": ("query", "anisotropy", *store),
        "partition": ("query", "partition", "--space", SPACE, "--layer", "0", *store),
        "where": ("query", "norms", "--where", "length(text) > 3", "--no-cache", *store),
        "by": ("query", "norms", "--by", "text", "--space", SPACE, "--layer", "0", "--words", "text1,text2", *store),
        "explain": ("query", "partition", "--explain", *store),
        "neighbours": ("neighbours", "text1", "--layer", "all", *store),
        "cosine": ("cosine", "text1", "text2", *store),
        "exact": ("neighbours", "text1", "--exact", *store),
        "missing": ("datasets", "missing", "words", *store),
        "repair --dry-run": ("repair", "--dry-run", *store),
        "compact --dry-run": ("compact", "--dry-run", *store),
        "build --dry-run": ("build", folder / "words.txt", "--model", f"tiny={checkpoint}", "--dry-run", "-q", *store),
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


READERS = ("info", "anisotropy", "partition", "where", "neighbours", "cosine", "exact", "missing")
BUILDERS = ("build", "merge into", "index", "compact")
MENDERS = ("repair", "repair --dry-run", "remove")
ADDERS = ("datasets store",)  # which reads no vectors, and so need not refuse the damage of others
WRITTEN = {"merge from": "other", "push": "pushed", "pull": "pulled", "export": "out.csv"}
REFUSING = {
    ALL: (*READERS, *BUILDERS, *MENDERS),
    MENDED: (*READERS, *BUILDERS),
    WRITERS: (*BUILDERS, *MENDERS),
    NONE: (),
}


@pytest.mark.parametrize("case", TAMPERINGS, ids=lambda case: case.name)
def test_no_command_is_led_outside(case, template, checkpoint, tmp_path, tally):
    counts = tally("tampered store", case.name.partition(":")[0])
    folder = tmp_path / "all"
    first = TAMPERINGS.index(case) % 3
    for number, (name, arguments) in enumerate(commands(folder, checkpoint).items()):
        if not FAULTS and number % 3 != first and name != "verify":  # a third of them, other ones for the next store
            continue
        if name in (*BUILDERS, *MENDERS, *ADDERS) or not folder.exists():  # the others change nothing
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(template, folder)
            path = case.tamper(folder / "store")
            before = outside(folder)
        close_cached_indexes()
        counts["faults"] += 1
        result = run(arguments)
        outcome = f"{name}: {result.exit_code}, {result.output}"
        assert result.exception is None or isinstance(result.exception, SystemExit), outcome
        after = outside(folder)
        assert _elsewhere(name, after) == _elsewhere(name, before), outcome
        before = after
        if name.startswith("verify"):
            assert (result.exit_code == 0) == case.sound, outcome
        elif name in REFUSING[case.refused]:
            assert result.exit_code == 2, outcome
        assert result.exit_code in (0, 1, 2), outcome
        if result.exit_code == (1 if name.startswith("verify") else 2) and case.refused != NONE:
            assert path.name in result.output, outcome
    shutil.rmtree(folder)


def _elsewhere(name: str, found: dict[str, tuple[int, str | bytes]]) -> dict[str, tuple[int, str | bytes]]:
    """Return what is not where a command may write."""
    return {path: state for path, state in found.items() if name not in WRITTEN or not path.startswith(WRITTEN[name])}


def run(arguments: Sequence[str | Path]) -> Result:
    from embstore_cli.main import app

    with limit():
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


def vector_commands(folder: Path) -> dict[str, Sequence[str | Path]]:
    """Every command that reads vectors."""
    of_space = ("--space", SPACE)
    return {
        "neighbours": ("neighbours", "text1", "--layer", "all"),
        "exact": ("neighbours", "text1", "--layer", "all", "--exact"),
        "cosine": ("cosine", "text1", "text2"),
        "map": ("map", *of_space, "--method", "pca"),
        "export a layer": ("export", folder / "out.csv", *of_space, "--layer", "1"),
        "export": ("export", folder / "out.parquet", *of_space),
        **{metric: ("query", metric, "--no-cache") for metric in ("partition", "hubness", "cka", "spectrum")},
        "where": ("query", "norms", "--where", "true", "--layer", "1", "--no-cache"),
        "drift": ("drift", *of_space),
        "index": ("index", "--force"),
    }


ANSWERED = {
    ("no layer 1", "cka"),  # with no value, and a note that names embstore verify
    ("an item less in layer 1", "cosine"),  # of two other items, whose rows are read alone
}


@pytest.mark.parametrize("case", WRONG_SHARDS)
def test_a_shard_that_is_not_as_its_card_says_is_named(case, tmp_path):
    """Whatever all hashes in the store say of it."""
    root = tmp_path / "store"
    synthetic_store(root, n=30, dim=6, n_blocks=1, n_shards=1)
    path = WRONG_SHARDS[case](root)
    for name, arguments in vector_commands(tmp_path).items():
        result = run((*arguments, "--store", root))
        outcome = f"{name}: {result.exit_code}, {result.output} {result.exception!r}"
        if (case, name) in ANSWERED:
            assert result.exit_code == 0, outcome
            continue
        assert result.exit_code == 2, outcome
        assert str(path.parent) in " ".join(result.output.split()).replace("- ", "-"), outcome
    assert [file.name for file in tmp_path.iterdir()] == ["store"]


def test_the_template_is_sound_and_every_command_works_on_it(template, checkpoint, tmp_path):
    """Else a refusal of a tampered store would say nothing."""
    folder = tmp_path / "all"
    for name, arguments in commands(folder, checkpoint).items():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        result = run(arguments)
        assert result.exit_code == 0, f"{name}: {result.output}"
