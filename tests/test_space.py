"""Units, poolings, templates, which layers a specification names, and the steps and names of
revisions.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.space import (
    Layers,
    Pooling,
    Template,
    TopForm,
    Unit,
    as_name,
    check_pooling,
    check_space_name,
    default_space_name,
    parse_member,
    parse_revisions,
    step_of,
    without_revision,
)

# Hidden_states[12] is after the final norm; raw is layer 13.
GPT2 = Layers.of_model(12, TopForm.NORMED)
CLIP = Layers.of_model(12, TopForm.RAW)  # before it; normed is layer 13
BERT = Layers.of_model(12, None)  # no final norm
PROJECTION = Layers.of_projection(12, TopForm.RAW)
RECIPE = Layers.of_recipe(12, TopForm.NORMED)  # the output of the recipe is layer 14
OUTPUT = Layers.of_recipe(12, None, output_only=True)


@pytest.mark.parametrize(
    ("layers", "spec", "ids"),
    [
        (GPT2, "all", range(14)),
        (CLIP, "all", range(14)),
        (BERT, "all", range(13)),
        (GPT2, "top", [12]),
        (CLIP, "top", [12]),
        (BERT, "top", [12]),
        (GPT2, "raw", [13]),
        (GPT2, "normed", [12]),
        (CLIP, "raw", [12]),
        (CLIP, "normed", [13]),
        (GPT2, "-1", [12]),
        (GPT2, "-13", [0]),
        (GPT2, "0-12", range(13)),
        (GPT2, "0-99", range(13)),
        (GPT2, "11-13", [11, 12]),
        (GPT2, "3-3", [3]),
        (GPT2, "10,2", [2, 10]),
        (GPT2, "2, 2 ,2-3", [2, 3]),
        (GPT2, "RAW", [13]),
        (GPT2, "0,-1,raw", [0, 12, 13]),
        (PROJECTION, "all", [14]),
        (PROJECTION, "top", [14]),
        (PROJECTION, "projection", [14]),
        (RECIPE, "all", range(15)),
        (RECIPE, "top", [14]),
        (RECIPE, "output,0", [0, 14]),
        (RECIPE, "-1", [12]),
        (RECIPE, "0-99", range(13)),
        (OUTPUT, "top", [14]),
    ],
)
def test_select(layers, spec, ids):
    assert layers.select(spec).ids == tuple(ids)


@pytest.mark.parametrize(
    ("layers", "spec", "part"),
    [
        (GPT2, "13", "13"),
        (GPT2, "-14", "-14"),
        (GPT2, "13-20", "13-20"),
        (GPT2, "5-3", "5-3"),
        (GPT2, "0,nine", "nine"),
        (GPT2, "", ""),
        (GPT2, "0,,1", ""),
        (GPT2, "projection", "projection"),
        (BERT, "raw", "raw"),
        (BERT, "normed", "normed"),
        (PROJECTION, "14", "14"),
        (PROJECTION, "0", "0"),
        (PROJECTION, "-1", "-1"),
        (RECIPE, "14", "14"),
        (GPT2, "output", "output"),
    ],
)
def test_a_layer_that_is_not_there_is_named(layers, spec, part):
    with pytest.raises(UnknownNameError) as caught:
        layers.select(spec)
    assert caught.value.name == part
    assert set(layers.names) <= set(caught.value.known)


@given(st.lists(st.integers(0, 12), min_size=1))
def test_a_selection_can_be_selected_from(ids):
    chosen = GPT2.select(",".join(map(str, ids)))
    assert list(chosen.ids) == sorted(set(ids))
    assert chosen.select("all") == chosen
    assert chosen.select("0-12") == chosen
    assert (chosen.n_blocks, chosen.top_form) == (12, TopForm.NORMED)


@pytest.mark.parametrize(
    ("pattern", "rendered", "start"),
    [
        ("{text}", "dog", 0),
        (" {text}", " dog", 1),
        ("{bos}{text}{eos}", "<s>dog</s>", 3),
        ("This is {text}.", "This is dog.", 8),
    ],
)
def test_templates(pattern, rendered, start):
    assert Template(pattern).render("dog", bos="<s>", eos="</s>") == (rendered, start)


@given(st.text())
def test_braces_in_a_text_are_only_text(text):
    rendered, start = Template("a {text} b").render(text + "{bos}{text}")
    assert rendered == f"a {text}{{bos}}{{text}} b"
    assert start == 2


@pytest.mark.parametrize("pattern", ["", "no field", "{text}{text}", "{bos}"])
def test_a_template_holds_the_text_once(pattern):
    with pytest.raises(UsageError, match="exactly once"):
        Template(pattern)


def test_an_unknown_template_field_names_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"unknown template field 'txt'. Did you mean 'text'"
    ):
        Template("{txt}")


def test_members():
    assert parse_member(Unit, "occurrence") is Unit.OCCURRENCE
    with pytest.raises(UnknownNameError, match=r"unknown pooling 'maen'. Did you mean 'mean'"):
        parse_member(Pooling, "maen")
    assert TopForm.RAW.other is TopForm.NORMED
    assert TopForm.NORMED.other is TopForm.RAW


def test_poolings_that_make_no_sense_for_a_unit():
    with pytest.raises(
        QueryError, match=r"last, first, mean, weighted\. For whole sentences use unit=.sentence"
    ):
        check_pooling(Unit.OCCURRENCE, Pooling.EOS)
    with pytest.raises(QueryError, match=r"unit=.sentence"):
        check_pooling(Unit.WORD, Pooling.PROJECTION)
    with pytest.raises(QueryError, match="embstore import"):
        check_pooling(Unit.WORD, Pooling.IMPORTED)
    of_checkpoints = [pooling for pooling in Pooling if pooling is not Pooling.IMPORTED]
    for unit, pooling in [(Unit.SENTENCE, p) for p in of_checkpoints] + [
        (Unit.OCCURRENCE, Pooling.MEAN)
    ]:
        check_pooling(unit, pooling)


def test_space_names():
    assert default_space_name("gpt2", Unit.WORD, Pooling.LAST) == "gpt2.word.last"
    for bad in ("", "a/b", "..", ".hidden", "a b", "a\nb", "ü", "-x"):
        with pytest.raises(UsageError, match="cannot name a space"):
            check_space_name(bad)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step0", 0),
        ("step143000", 143000),
        ("step_512", 512),
        ("checkpoint-1000", 1000),
        ("1000", 1000),
        ("global_step1000", 1000),
        ("stage1-step596000-tokens2503B", 596000),
        ("step1000-tokens4B", 1000),
        ("main", None),
        ("v1.0", None),
        ("refs/pr/15", None),
        ("checkpoint-best", None),
        ("step", None),
        ("footstep12", None),
        ("", None),
        ("c0ffee", None),
        ("step-1.5", None),
        ("1" * 40, None),
    ],
)
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
