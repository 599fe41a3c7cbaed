"""``verify --deep`` computes stored answers anew: all are what they were, and an altered one is named."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answer_queries import QUERIES, WORDS, ask, stored
from typer.testing import CliRunner

from embstore import Store, atomic
from embstore.errors import UsageError
from embstore.query import answer_checks


@pytest.fixture(scope="module")
def queried(prepared: Path) -> Path:
    """A store with the answers to questions of every kind."""
    for metric, question in QUERIES:
        ask(prepared, metric, **question)
    return prepared


@pytest.fixture
def answered(root: Path) -> Path:
    """A store of a few answers, which a test may change."""
    for path in stored(root):
        path.unlink()
    ask(root, "isoscore", spaces="toy.word.last")
    return root


def change(path: Path, alter: Callable[[dict[str, Any]], Any]) -> None:
    """Alter an answer, and seal it anew."""
    document = json.loads(path.read_text("utf-8"))
    del document["file_sha256"]
    alter(document)
    path.write_bytes(atomic.document_bytes(document, indent=None))


def test_every_kind_of_answer_is_computed_as_it_is_stored(queried: Path) -> None:
    found = Store(queried).verify(deep=True, answers="all")
    assert found.problems == ()
    assert found.answers is not None
    assert found.answers.n_computed == found.answers.n_stored > 100
    assert found.answers.n_stored + sum(count for _, count in found.answers.skipped) == len(stored(queried))
    metrics = {json.loads(path.read_text("utf-8"))["question"]["metric"]["name"] for path in stored(queried)}
    assert len(metrics) >= 18


def alter_value(document: dict[str, Any]) -> None:
    document["rows"][0]["isoscore"] *= 1 + 1e-4


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a value": (alter_value, "isoscore is"),
    "null": (lambda d: d["rows"][0].update(isoscore=None), "isoscore is None in it, and 0."),
    "a count": (lambda d: d["rows"][0].update(n=31), "n is 31 in it, and 30"),
    "a reason": (lambda d: d["rows"][0].update(reason="no"), "reason is 'no' in it, and None"),
    "no row": (lambda d: d["rows"].clear(), "it has 0 rows, not 1"),
    "a note": (lambda d: d["notes"].append("All is well."), "its notes are others"),
    "another column": (lambda d: d["rows"][0].update(best=True), "best is True in it, and None"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_altered_answer_that_is_sealed_anew_is_named(answered: Path, what: str) -> None:
    alter, message = CHANGES[what]
    path = stored(answered)[0]
    change(path, alter)
    assert Store(answered).verify().ok, "its hash is right"
    found = Store(answered).verify(deep=True)
    assert [problem.file for problem in found.problems] == [path.resolve()]
    assert message in found.problems[0].problem
    n = len(stored(answered))
    assert Store(answered).repair()["file"] == [], "its hash is right"
    for dry_run in (True, False):
        done = Store(answered).repair(deep=True, dry_run=dry_run)
        assert (done["action"], done["file"]) == (["would remove" if dry_run else "removed"], [f"answers/{path.name}"])
        assert len(stored(answered)) == (n if dry_run else n - 1)
    assert Store(answered).verify(deep=True).ok


def test_rounding_is_no_damage(answered: Path) -> None:
    def round_otherwise(document: dict[str, Any]) -> None:
        document["rows"][0]["isoscore"] = math.nextafter(document["rows"][0]["isoscore"], 2)

    change(stored(answered)[0], round_otherwise)
    assert Store(answered).verify(deep=True).ok


def test_a_sample_is_drawn_by_its_seed(queried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[Path] = []
    monkeypatch.setattr(answer_checks, "_difference", lambda stored: computed.append(stored.path))
    drawn = []
    for seed in (1, 1, 2):
        computed.clear()
        found = Store(queried).verify(deep=True, answers=5, seed=seed).answers
        assert found is not None
        assert (found.n_computed, found.seed) == (5, seed)
        drawn.append([*computed])
    assert drawn[0] == drawn[1] != drawn[2]
    seeds = {Store(queried).verify(deep=True, answers=1).answers.seed for _ in range(3)}
    assert len(seeds) == 3, "nobody knows which answers are computed"
    monkeypatch.setattr(answer_checks, "SECONDS", -1.0)
    assert Store(queried).verify(deep=True).answers.n_computed == 0
    with pytest.raises(UsageError, match="answers must be a number, or all, not 'some'"):
        Store(queried).verify(answers="some")


def test_answers_that_a_query_is_not_given_are_not_computed(answered: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("\n".join(WORDS[:4]), "utf-8")
    ask(answered, "sc-weat", spaces="toy.word.last", layers=0, words=str(words), a=WORDS[8:12], b=WORDS[12:16])
    metrics = {path: json.loads(path.read_text("utf-8"))["question"]["metric"]["name"] for path in stored(answered)}
    first = next(path for path, name in metrics.items() if name == "isoscore")
    n = len(stored(answered))
    change(first, lambda document: document["question"].update(numpy="1.0"))
    found = Store(answered).verify(deep=True, answers="all")
    assert found.ok
    assert found.answers is not None
    assert found.answers.n_stored <= n - 2 + 1
    assert any("files outside the store" in reason for reason, _ in found.answers.skipped)


def test_the_command_says_how_many(answered: Path) -> None:
    from embstore_cli.main import app

    n = len(stored(answered))
    call = ["verify", "--deep", "--store", str(answered), "--answers", "all", "--seed", "3"]
    result = CliRunner().invoke(app, call)
    assert (result.exit_code, f"{n} of {n} stored answers were computed anew (seed 3)." in result.stderr) == (0, True)
    change(stored(answered)[0], alter_value)
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 1
    assert "it is not what its metric computes: isoscore is" in " ".join(result.stdout.split())
