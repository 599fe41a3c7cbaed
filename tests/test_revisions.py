"""Names of revisions: their training steps, and their part in the names of spaces."""

import pytest

from embstore.base.space import as_name, parse_revisions, step_of, without_revision


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step0", 0), ("step143000", 143000), ("step_512", 512), ("checkpoint-1000", 1000), ("1000", 1000),
        ("global_step1000", 1000), ("stage1-step596000-tokens2503B", 596000), ("step1000-tokens4B", 1000),
        ("main", None), ("v1.0", None), ("refs/pr/15", None), ("checkpoint-best", None), ("step", None),
        ("footstep12", None), ("", None), ("c0ffee", None), ("step-1.5", None), ("1" * 40, None),
    ],
)  # fmt: skip
def test_steps_are_read_from_names(name, step):
    assert step_of(name) == step


def test_several_revisions_are_written_with_commas_and_one_becomes_part_of_a_name():
    assert (as_name("refs/pr/15"), as_name("../..")) == ("refs-pr-15", "")
    assert parse_revisions(["step0, step16", "step2,step0", ""]) == ("step0", "step16", "step2")
    assert parse_revisions("step0") == ("step0",)


@pytest.mark.parametrize(
    ("space", "revision", "rest"),
    [
        ("pythia.step1000.word.last", "step1000", "pythia.word.last"),
        ("run.checkpoint-5.word.last", "checkpoint-5", "run.word.last"),
        ("checkpoint-5.word.last", "checkpoint-5", "word.last"),
        ("m.refs-pr-15.word.last", "refs/pr/15", "m.word.last"),
        ("mine.word.last", "step1000", "mine.word.last"),
        ("pythia.step10.word.last", "step1", "pythia.step10.word.last"),
        ("pythia.word.last", None, "pythia.word.last"),
        ("step1", "step1", "step1"),
    ],
)
def test_spaces_of_two_revisions_have_the_same_name_without_them(space, revision, rest):
    assert without_revision(space, revision) == rest
