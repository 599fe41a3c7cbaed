"""Recipes as data: reading them, planning, and the verdicts."""

import copy
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from file_access import before_access

from embstore.base.errors import EmbstoreError, RecipeAccessError, UnknownNameError, UsageError
from embstore.recipes.recipe import (
    ALL,
    BEST,
    CheckpointTraits,
    Measure,
    PlannedQuery,
    Published,
    Relation,
    Sentences,
    Verdict,
    plan,
)
from embstore.recipes.recipe_file import load_recipe, parse_recipe
from embstore.recipes.reproduce import COLUMNS, LayerValue, judge, summary_of

GPT2 = CheckpointTraits("gpt2", "gpt2=/there", bare=True)
CLIP = CheckpointTraits("clip", "clip")
EMPTY = Path(__file__).parent / "no such folder"

DOCUMENT: dict[str, Any] = {
    "name": "paper",
    "title": "A paper",
    "citation": "Someone (2026)",
    "figures": "paper.json",
    "models": ["one", "two"],
    "sources": [
        {"name": "words", "datasets": ["rg65", "big"], "quick": ["rg65"]},
        {"name": "contexts", "datasets": ["stsb"], "quick_texts": 5, "per_text": 1,
        "replaceable": True},
    ],
    "spaces": [
        {"name": "word.last", "source": "words", "unit": "word", "pooling": "last"},
        {
            "name": "marked.last", "label": "with marks", "source": "words", "unit": "word",
            "pooling": "last",
            "template": "{bos}{text}{eos}", "only_bare": True,
        },
        {"name": "occurrence.last", "source": "contexts", "unit": "occurrence", "pooling": "last"},
    ],
    "measures": [
        {
            "figure": "cosine", "help": "h", "metric": "anisotropy", "column": "anisotropy",
            "sample": 10,
            "spaces": ["occurrence.last"], "band": 0.1,
        },
        {
            "figure": "rho", "help": "h", "metric": "similarity", "column": "spearman",
            "datasets": ["big"],
            "parameters": {"dataset": ["big"]}, "spaces": ["word.last", "marked.last"],
        },
    ],
}  # fmt: skip
FIGURES: dict[str, Any] = {
    "sources": {"a": "abstract"},
    "figures": [
        {"model": "one", "figure": "cosine", "first_layer": 0, "relation": "=", "values": [0.5,
        0.25], "source": "a"},
        {"model": "one", "figure": "cosine", "layers": "all", "relation": "<", "value": 0.6,
        "source": "a"},
        {"model": "one", "figure": "cosine", "layers": "all", "relation": "falling", "source": "a"},
        {
            "model": "one", "figure": "rho", "layers": "best", "relation": ">=", "value": 0.8,
            "source": "a",
            "spaces": ["marked.last"],
        },
        {"model": "three", "figure": "rho", "layers": None, "relation": "=", "value": 1,
        "source": "a"},
    ],
}  # fmt: skip


def recipe(document: Any = None, figures: Any = None):
    return parse_recipe(document or DOCUMENT, "paper.toml", lambda file: figures or FIGURES)


# The recipe that comes with embstore
# ---------------------------------------------------------------------------------


def test_it_holds_every_number_of_the_table_of_figures_in_its_place(shared):
    table = json.loads((shared / "reference" / "paper_figures.json").read_text("utf-8"))
    numbers = [
        number.value for number in load_recipe("wolfe2022").published if number.value is not None
    ]
    wanted = [entry["value"] for entry in table["figures"]]
    for entry in table["headline"]:
        wanted += entry["value"] if isinstance(entry["value"], list) else [entry["value"]]
    for model in table["ethayarajh_2019"].values():
        for value in model.values():
            wanted += value if isinstance(value, list) else [value]
    wanted.append(0.45)  # the previous best that a headline's name mentions
    assert sorted(numbers) == sorted(map(float, wanted))

    short = {"gpt2": "gpt2", "clip-vit-base-patch32": "clip"}
    numbers = {
        (n.model, n.figure, n.layers, n.relation.value, n.value)
        for n in load_recipe("wolfe2022").published
    }
    for entry in table["figures"]:
        assert (
            short[entry["model"]],
            entry["figure"],
            entry["layer"],
            entry["relation"],
            entry["value"],
        ) in numbers
    ours = {
        (n.model, n.figure, n.layers): n.value
        for n in load_recipe("wolfe2022").published
        if n.source == "kawine"
    }
    random_words = "mean_cos_random_words (Baseline_1)"
    for model, figures in table["ethayarajh_2019"].items():
        for layer, value in enumerate(figures[random_words]):
            assert ours[model, "random_word_cosine", layer] == value
        for layer, value in enumerate(
            figures["variance_explained_raw_mean_over_words (layers 1..)"], 1
        ):
            assert ours[model, "word_variance_explained", layer] == value


def test_each_number_of_the_paper_is_measured_or_says_why_not():
    paper = load_recipe("wolfe2022")
    measured = {measure.figure for measure in paper.measures}
    excused = {
        figure for entry in paper.unmeasured if not entry.variant for figure in entry.figures
    }
    assert not measured & excused
    models = {model for entry in paper.unmeasured if not entry.figures for model in entry.models}
    for number in paper.published:
        assert number.figure in measured | excused or number.model in models, number


def test_the_paper_s_protocol_has_the_variants_of_the_authors():
    steps = plan(load_recipe("wolfe2022"), [GPT2, CLIP])
    assert [step.space.removeprefix("wolfe2022.") for step in steps.builds] == [
        "gpt2.word.last",
        "gpt2.word-marked.last",
        "gpt2.word.eos",
        "gpt2.sentence.last",
        "gpt2.sentence.eos",
        "gpt2.occurrence.last",
        "gpt2.occurrence-every.last",
        "gpt2.padding.eos",
        "clip.word.last",
        "clip.word.eos",
        "clip.sentence.last",
        "clip.sentence.eos",
        "clip.occurrence.last",
    ]
    marked = next(step for step in steps.builds if step.space == "wolfe2022.gpt2.word.eos")
    assert (marked.spec.template.pattern, marked.spec.pooling) == ("{bos}{text}{eos}", "eos")
    draws = next(step for step in steps.builds if step.space == "wolfe2022.clip.occurrence.last")
    assert (draws.per_text, draws.limit, draws.sources) == (5, None, ("stsb",))
    own = plan(load_recipe("wolfe2022"), [CLIP], sentences=Sentences("mine.txt", "mine-0"))
    [draws] = [step for step in own.builds if step.spec.name == "occurrence.last"]
    assert (draws.per_text, draws.sources) == (1, ("mine.txt",))
    variants = {(each.measure.figure, each.measure.variant) for each in steps.measures}
    assert ("stsb_test_spearman", "") in variants
    assert ("stsb_test_spearman", "authors' reader") in variants
    assert ("cwe_self_similarity", "no first token") in variants
    [draws] = {
        each.query for each in steps.measures if each.measure.variant == "authors' PAD draws"
    }
    assert draws.space, draws.padding == (
        "wolfe2022.gpt2.occurrence.last",
        "wolfe2022.gpt2.padding.eos",
    )


# Reading
# --------------------------------------------------------------------------------------------------------------


def changed(path: str, value: Any, base: Any = DOCUMENT) -> Any:
    """Return the document with one value put in (or taken out, for ...), at a path like
    ``measures.0.band``.
    """
    made = copy.deepcopy(base)
    place = made
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("title", ..., "paper.toml has no 'title'"),
        ("titel", "x", "unknown key 'titel'. Did you mean 'title'?"),
        ("models", [], "models must be a list of texts, not []"),
        ("sources", {}, "sources must be a list of tables"),
        ("sources.0.quick", ["rg56"], "unknown dataset 'rg56'. Did you mean 'rg65'?"),
        (
            "sources.1.quick_texts",
            0,
            "paper.toml: sources[1]: quick_texts must be a whole number of at least 1, not 0",
        ),
        ("sources.1.replaceable", "yes", "replaceable must be true or false, not 'yes'"),
        (
            "sources.0.own_per_text",
            1,
            "sources[0]: own_per_text must be absent where nothing is drawn (per_text)",
        ),
        (
            "measures.1.population",
            {"dataset": "big", "repeated": True},
            "metric must be 'anisotropy' where texts",
        ),
        (
            "measures.0.population",
            {"dataset": "stsb", "repeated": True},
            "sample must be absent where texts",
        ),
        (
            "measures.0.bins",
            4,
            "measures[0]: bins must be absent without by, the column that it divides, not 4",
        ),
        ("sources.0.keep", "pos", "sources[0]: keep must be a list of texts, not 'pos'"),
        ("sources.1.name", "words", "paper.toml has two sources called 'words'"),
        ("spaces.0.unit", "wrod", "unknown unit 'wrod'. Did you mean 'word'?"),
        ("spaces.0.name", "a b", "paper.toml: spaces[0]: 'a b' cannot name a space"),
        ("spaces.0.template", "{txt}", "unknown template field 'txt'"),
        ("spaces.2.pooling", "eos", "cannot stand for an occurrence"),
        ("spaces.2.unit", "sentence", "unit must be 'occurrence'"),
        ("measures.0.band", -1, "band must be a number of at least 0, not -1"),
        ("measures.0.spaces", ["word.lats"], "unknown space 'word.lats'. Did you mean 'word.last'"),
        ("measures.1.datasets", ["stsb"], "Known: rg65, big. It stands in paper.toml: measures[1]"),
        ("measures.1.parameters", [1], "parameters must be a table"),
        ("unmeasured", [{}], "paper.toml: unmeasured[0] has no 'reason'"),
        (
            "measures.0.padding",
            "occurrence.last",
            "measures[0]: padding must be the name of a space of sentences",
        ),
    ],
)
def test_a_mistake_in_a_recipe_names_its_place(path, value, message):
    with pytest.raises(EmbstoreError) as error:
        recipe(changed(path, value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("figures.0.values", [0.5, None], "values must be a list of numbers"),
        ("figures.1.value", "0.6", "value must be a number, not '0.6'"),
        ("figures.1.value", ..., "figures[1] has no 'value'"),
        ("figures.1.layers", "top", "layers must be a number, 'best', 'all' or null, not 'top'"),
        ("figures.1.relation", "<>", "unknown relation '<>'"),
        ("figures.1.source", "b", "unknown source 'b'. Known: a."),
        ("figures.3.spaces", ["x"], "unknown space 'x'"),
        ("sources", ..., "unknown source 'a'"),
    ],
)
def test_a_mistake_in_the_figures_names_its_place(path, value, message):
    with pytest.raises(EmbstoreError) as error:
        recipe(figures=changed(path, value, FIGURES))
    assert message in str(error.value)
    assert "paper.toml: paper.json" in str(error.value)


def test_a_recipe_of_one_s_own_is_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text(
        """
        name = "mine"
        title = "t"
        citation = "c"
        models = ["minilm"]
        sources = [{ name = "words", datasets = ["rg65"] }]
        spaces = [{ name = "word", source = "words", unit = "word", pooling = "mean" }]
        measures = [{ figure = "f", help = "h", metric = "norms", column = "mean", spaces = ["word"] }]
        """,
        "utf-8",
    )
    mine = load_recipe(str(tmp_path / "mine.toml"))
    assert (mine.name, mine.published, mine.sources["words"].quick) == ("mine", (), ("rg65",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"name = 'x'\ntitle = 't'\ncitation='c'\nfigures='gone.json'", "has no 'models'"),
        *(
            (deep, r"mine\.toml cannot be read: it is nested too deeply")
            for deep in (
                b"a = " + b"[" * 100_000,
                b"a = " + b"[" * 65 + b"]" * 65,
                b"a" + b".a" * 64 + b" = 1",
                b"[" + b"a." * 65 + b"a]",
            )
        ),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as error:
        load_recipe(str(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a" + ".a" * 200_000 + " = 1", "it is larger than 256 KiB"),
        ("a" + ".a" * 100_000 + " = 1", "line 1 has more than 100 dots"),
        ("\n[" + '"\u2028".' * 101 + "a]", "line 2 has more than 100 dots"),
        ("x = 1\nb = {a" + ".a" * 101 + " = 1}", "line 2 has more than 100 dots"),
    ],
)
def test_a_key_of_many_parts_is_never_parsed(tmp_path, monkeypatch, content, message):
    parsed: list[str] = []
    monkeypatch.setattr("tomllib.loads", parsed.append)
    path = tmp_path / "mine.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(UsageError, match=f"mine.toml cannot be read: {message}"):
        load_recipe(str(path))
    assert parsed == []


MINIMAL = """
name = "mine"
title = "t"
citation = "c"
figures = '{figures}'
models = ["minilm"]
sources = [{{ name = "words", datasets = ['{source}'] }}]
spaces = [{{ name = "word.last", source = "words", unit = "word", pooling = "last" }}]
measures = [{{ figure = "a", help = "h", metric = "norms", column = "mean", spaces = ["word.last"] }}]
"""
ONE_FIGURE = {
    "sources": {"a": "here"},
    "figures": [
        {"model": "m", "figure": "a", "layers": "all", "relation": "<", "value": 1, "source": "a"}
    ],
}


@pytest.fixture
def folder(tmp_path):
    """A folder of a recipe, beside files that it must not read."""
    (tmp_path / "secret.json").write_text(json.dumps(ONE_FIGURE), "utf-8")
    (tmp_path / "secret.txt").write_text("dog", "utf-8")
    folder = tmp_path / "recipe"
    (folder / "below").mkdir(parents=True)
    for name in ("figures.json", "words.txt", "below/words.txt"):
        (folder / name).write_text(json.dumps(ONE_FIGURE), "utf-8")
    (folder / "link.json").symlink_to("../secret.json")
    (folder / "circle.json").symlink_to("circle.json")
    (folder / "link.txt").symlink_to("../secret.txt")
    os.mkfifo(folder / "pipe.json")
    return folder


def load_minimal(folder: Path, figures: str = "figures.json", source: str = "rg65"):
    path = folder / "mine.toml"
    path.write_text(MINIMAL.format(figures=figures, source=source), "utf-8")
    return load_recipe(str(path))


OUTSIDE = [
    "../secret.json",
    "{out}/secret.json",
    "{out}/recipe/figures.json",
    "below/../figures.json",
    "./figures.json",
    "..",
    ".",
    "..\\secret.json",
    "link.json",
]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        *(
            (name, r"mine\.toml.* must be the name of a file in the recipe's folder")
            for name in OUTSIDE
        ),
        ("pipe.json", "pipe.json is not a regular file"),
        ("below", "below cannot be read: Is a directory"),
        ("circle.json", "circle.json cannot be read: Too many levels of symbolic links"),
        ("65.json", r"65\.json cannot be read: it is nested too deeply"),
        ("50000.json", r"50000\.json cannot be read: it is nested too deeply"),
    ],
)
def test_figures_are_a_file_in_the_folder_of_the_recipe(folder, name, problem):
    for depth in (65, 50_000):
        (folder / f"{depth}.json").write_text("[" * depth + "]" * depth)
    assert [number.figure for number in load_minimal(folder).published] == ["a"]
    with pytest.raises(UsageError, match=problem):
        load_minimal(folder, name.format(out=folder.parent))


@pytest.mark.parametrize("name", ["mine.toml", "figures.json"])
def test_what_the_system_refuses_is_said_of_the_file(folder, name):
    def refuse(path: Path, _: bool) -> None:
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied")

    load_minimal(folder)
    message = f"{name} cannot be read: Permission denied. Check its permissions"
    with before_access(refuse), pytest.raises(RecipeAccessError, match=message):
        load_minimal(folder)


def test_a_recipe_is_a_file_that_is_there(folder):
    os.mkfifo(folder / "pipe.toml")
    with pytest.raises(UsageError, match=r"pipe\.toml is not a regular file"):
        load_recipe(str(folder / "pipe.toml"))

    with pytest.raises(UnknownNameError, match="Did you mean 'wolfe2022'"):
        load_recipe("wolfe2023")
    with pytest.raises(UsageError, match=r"mine\.toml cannot be read: No such file"):
        load_recipe(str(EMPTY / "mine.toml"))


def test_sources_are_datasets_or_files_below_the_folder_of_the_recipe(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("rg65", "words:500", "words.txt", "below/words.txt", str(folder / "words.txt")):
        assert load_minimal(folder, source=name).sources["words"].datasets == (name,)
    outside = (
        "../secret.txt",
        str(folder.parent / "secret.txt"),
        "link.txt",
        "/dev/stdin",
        "-",
        "~/x.txt/../../../x",
    )
    for name in outside:
        with pytest.raises(
            UsageError, match="must be a dataset or a file below the recipe's folder"
        ):
            load_minimal(folder, source=name)


# Planning
# -------------------------------------------------------------------------------------------------------------

FIRST = CheckpointTraits("one", "one=folder", bare=True)
TWO = CheckpointTraits("two", "two")


def spaces_of(steps) -> list[str]:
    return [step.space for step in steps.builds]


def test_a_space_for_each_model_that_can_have_it():
    assert spaces_of(plan(recipe(), [FIRST, TWO])) == [
        "paper.one.word.last",
        "paper.one.marked.last",
        "paper.one.occurrence.last",
        "paper.two.word.last",
        "paper.two.occurrence.last",
    ]


def test_a_space_may_be_for_some_models_only():
    made = recipe(changed("spaces.2", {**DOCUMENT["spaces"][2], "models": ["two"]}))
    steps = plan(made, [FIRST, TWO])
    assert [step.space for step in steps.builds if step.spec.name == "occurrence.last"] == [
        "paper.two.occurrence.last"
    ]
    assert [each.model for each in steps.measures if each.measure.figure == "cosine"] == ["two"]


def test_what_a_model_lacks_is_said_and_not_built():
    traits = CheckpointTraits(
        "one", "one", bare=True, unsupported={"marked.last": "it has no such token"}
    )
    steps = plan(recipe(), [traits])
    assert "paper.one.marked.last" not in spaces_of(steps)
    assert [each.query for each in steps.measures if each.space.name == "marked.last"] == [
        "it has no such token"
    ]


def test_quick_uses_the_small_sets_in_spaces_of_their_own_where_texts_are_cut():
    steps = plan(recipe(), [FIRST], quick=True)
    builds = {step.space: step for step in steps.builds}
    assert builds["paper.one.word.last"].sources == (
        "rg65",
    )  # a whole set: the same space as in the full run
    assert builds["paper.one.occurrence.last.quick"].limit == 5
    query_of = {(each.measure.figure, each.space.name): each.query for each in steps.measures}
    assert query_of["rho", "word.last"] == "left out by quick"
    assert isinstance(query_of["cosine", "occurrence.last"], PlannedQuery)
    assert [question.space for question in steps.queries] == ["paper.one.occurrence.last.quick"]


def test_other_draws_and_other_sentences_make_other_spaces():
    names = set()
    for seed in (0, 1):
        for sentences in (None, Sentences("a.txt", "a-1234"), Sentences("a.txt", "a-5678")):
            steps = plan(recipe(), [FIRST], seed=seed, sentences=sentences)
            names.add(steps.builds[-1].space)
            assert steps.builds[-1].sources == (("a.txt",) if sentences else ("stsb",))
            assert steps.builds[0].space == "paper.one.word.last"  # nothing is drawn there
    assert len(names) == 6


def test_measures_that_ask_the_same_share_the_answer():
    twice = changed("measures.1", {**DOCUMENT["measures"][0], "figure": "again"})
    steps = plan(recipe(twice), [FIRST])
    assert len(steps.measures) == 2
    assert len(steps.queries) == 1


# Verdicts
# -------------------------------------------------------------------------------------------------------------


def published(relation: str, value: float | None = 0.5) -> Published:
    return Published("one", "cosine", 0, Relation(relation), value, "a")


def measure(band: float = 0.0, share: float = 0.0) -> Measure:
    return Measure(
        figure="cosine",
        help="h",
        metric="anisotropy",
        column="anisotropy",
        spaces=("occurrence.last",),
        band=band,
        relative_band=share,
    )


@pytest.mark.parametrize(
    ("relation", "measured", "hit"),
    [
        ("=", 0.625, True),
        ("=", 0.626, False),
        ("=", 0.375, True),
        ("=", 0.374, False),
        ("~=", 0.6, True),
        ("<", 0.499, True),
        ("<", 0.5, False),
        ("<=", 0.5, True),
        ("<=", 0.501, False),
        (">", 0.501, True),
        (">", 0.5, False),
        (">=", 0.5, True),
        (">=", 0.499, False),
    ],
)
def test_a_number_hits_within_its_band_and_a_bound_as_it_stands(relation, measured, hit):
    verdict = published(relation).verdict(measured, measure(band=0.125))
    assert verdict is (Verdict.HIT if hit else Verdict.MISS)


def test_a_band_may_be_a_share():
    assert published("=", -200.0).band(measure(share=0.25)) == (-250.0, -150.0)


def judged(*values: float | None, models=(FIRST,), **options):
    """Judge one model whose cosines are these, from layer 0 on."""
    steps = plan(recipe(changed("measures", DOCUMENT["measures"][:1])), models, **options)
    readings = [
        LayerValue(i, value, 7, None if value is not None else "why")
        for i, value in enumerate(values)
    ]
    rows = judge(steps, {question: {"anisotropy": readings} for question in steps.queries})
    assert all(tuple(row) == COLUMNS for row in rows)
    return rows


def test_measured_stands_beside_published_and_is_counted():
    rows = judged(0.55, 0.4, 0.3)
    shown = [
        (row["layers"], row["layer"], row["relation"], row["measured"], row["verdict"])
        for row in rows[:5]
    ]
    assert shown == [
        ("0", 0, "=", 0.55, "hit"),  # .5 ± .1
        ("1", 1, "=", 0.4, "miss"),  # .25 ± .1
        ("2", 2, None, 0.3, "not published"),
        ("all", 0, "<", 0.55, "hit"),  # the highest of all layers
        ("all", 2, "falling", 0.0, "hit"),
    ]
    assert (rows[0]["low"], rows[0]["high"], rows[0]["n"]) == (0.4, 0.6, 7)

    assert (
        summary_of(rows)
        == "beside published numbers: 3 hit, 1 missed, 2 not measured; 1 measured of which nothing"
        " is published."
    )


def test_a_bound_on_all_layers_is_held_against_the_worst_and_a_trend_counts_wrong_steps():
    rows = {row["relation"]: row for row in judged(0.3, 0.7, 0.2, 0.4)}
    assert (rows["<"]["layer"], rows["<"]["measured"], rows["<"]["verdict"]) == (1, 0.7, "miss")
    assert (rows["falling"]["measured"], rows["falling"]["verdict"]) == (2.0, "miss")


def test_what_cannot_be_computed_is_not_measured_and_says_why():
    rows = judged(0.5, None)
    assert [row["verdict"] for row in rows[:2]] == ["hit", "not measured"]
    assert rows[1]["reason"] == "why"
    assert [(row["verdict"], row["reason"]) for row in rows[2:4]] == [
        ("not measured", "layer 1: why")
    ] * 2


def test_a_layer_that_the_model_lacks():
    [row] = [row for row in judged(0.5) if row["layers"] == "1"]
    assert (row["verdict"], row["published"]) == ("not measured", 0.25)
    assert row["reason"] == "one has no other layers than 0 to 0"


def test_the_lowest_of_all_layers_and_the_best():
    only = changed("measures", DOCUMENT["measures"][:1])
    for layers, relation, value in ((ALL, ">=", 0.2), (BEST, "=", 0.4)):
        entry = FIGURES["figures"][1] | {"layers": layers, "relation": relation, "value": value}
        steps = plan(recipe(only, changed("figures", [entry], FIGURES)), [FIRST])
        readings = [LayerValue(0, 0.3, 2), LayerValue(1, 0.1, 2), LayerValue(2, 0.4, 2)]
        *_, row = judge(steps, {question: {"anisotropy": readings} for question in steps.queries})
        assert (row["layer"], row["verdict"]) == ((1, "miss") if layers == ALL else (2, "hit"))


def test_every_published_number_is_in_the_result_of_a_full_run():
    rows = judged(0.5, 0.25)
    assert sum(row["relation"] is not None for row in rows) == len(recipe().published)
    reasons = {row["model"]: row["reason"] for row in rows if row["figure"] == "rho"}
    assert reasons["one"] == "the recipe has no measure of it"
    assert reasons["three"] == 'three is not among the models of this run: models="three"'


def test_of_models_that_a_user_names_only_their_own_numbers_are_shown():
    rows = judged(0.5, models=(CheckpointTraits("mine", "mine"),), all_published=False)
    assert [(row["model"], row["verdict"]) for row in rows] == [("mine", "not published")]


def test_a_query_that_fails_gives_its_reason_to_each_number():
    steps = plan(
        recipe(changed("measures", DOCUMENT["measures"][:1])), [FIRST], all_published=False
    )
    rows = judge(steps, dict.fromkeys(steps.queries, "no such dataset"))
    compared = [row for row in rows if row["figure"] == "cosine"]
    assert [row["published"] for row in compared] == [0.5, 0.25, 0.6, None]
    assert {(row["verdict"], row["reason"]) for row in compared} == {
        ("not measured", "no such dataset")
    }


def test_variants_that_are_left_out_are_named():
    document = changed(
        "unmeasured", [{"figures": ["cosine"], "variant": "with padding", "reason": "no item"}]
    )
    steps = plan(recipe(document), [FIRST], all_published=False)
    rows = judge(steps, dict.fromkeys(steps.queries, "x"))
    assert [(row["model"], row["reason"]) for row in rows if row["variant"] == "with padding"] == [
        ("one", "no item")
    ]
