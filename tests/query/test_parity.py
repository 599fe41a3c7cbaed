"""One question, three ways to ask it: Store, the command line and the explorer give the same
rows.
"""

import json

import pytest
from embstore_cli.main import app
from every_metric import SETS, WORDS, prepare
from typer.testing import CliRunner

from embstore.explore import questions

TOY = {"spaces": ["toy.word.last"]}
LABEL = {"label": "freq", "label_bins": "0,6,11", **TOY}
REQUESTS = [
    ("anisotropy", {}),
    ("anisotropy", {"std": True, "models": ["toy"], "unit": "word"}),
    ("anisotropy", {"variant": "centred", "where": "text LIKE '%1%'", "layers": "0"}),
    ("anisotropy", {"sample": 10, "seed": 3, "unit": "word"}),
    ("isoscore", {"transforms": ["center", "abtt:1"], **TOY}),
    ("norms", {"by": "freq", "bins": "3", **TOY}),
    ("norms", {"words": [*WORDS[:5], "nowhere"], **TOY}),
    ("spectrum", {"k": 3, **TOY}),
    ("hubness", {"k": 3, "distance": "euclidean", **TOY}),
    ("intrinsic-dimension", {"estimator": "mle", "neighbours": 7, **TOY}),
    ("rogue-dims", {"k": 2, "by": "freq", "bins": "2", **TOY}),
    ("similarity", {"dataset": ["pairs"], **TOY}),
    ("similarity", {"dataset": ["pairs"], "versus": "best", **TOY}),
    ("analogies", {"dataset": ["questions"], **TOY}),
    ("correlate", {"column": "freq", "versus": "0", **TOY}),
    ("valnorm", {"pleasant": WORDS[:4], "unpleasant": WORDS[4:8], **TOY}),
    ("weat", {**SETS, **TOY}),
    ("sc-weat", {"word": WORDS[:2], "a": WORDS[8:12], "b": WORDS[12:16], **TOY}),
    ("knn", {**LABEL, "k": 3, "versus": "1"}),
    ("clusters", {**LABEL, "runs": 2}),
    ("probe", {**LABEL, "folds": 2, "repeats": 1, "seed": 3}),
    ("cka", {"permutations": 19, "over": "max", "seed": 3, **TOY}),
    ("rsa", {"correlation": "spearman", "pairs": 50, "seed": 2, **TOY}),
    ("overlap", {"k": 3, "against": "toy.word.last", **TOY}),
    ("drift", {"k": 3, "most": 2, **TOY}),
    ("self-similarity", {"per_word": True, "adjusted": True}),
    ("change", {"by": "position", "bins": "0,3,9", "min_contexts": 2, "permutations": 9}),
]
SHARED_OPTIONS = {
    "spaces": "--space",
    "models": "--model",
    "layers": "--layer",
    "transforms": "--transform",
}
ON_THE_PAGE = ("spaces", "layers", "where", "sample", "seed", "transforms", "by", "bins")
NOT_ON_THE_PAGE = {"models", "unit", "words"}
REPEATED = ("spaces", "models", "transforms", "dataset", "word")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("parity") / "store").store


def command(metric, question, store):
    """Return the arguments of the command line for a question."""
    arguments = ["query", metric, "--store", str(store.path), "--format", "json"]
    for name, value in question.items():
        dashes = "-" if len(name) == 1 else "--"
        option = SHARED_OPTIONS.get(name, dashes + name.replace("_", "-"))
        if value is True:
            arguments.append(option)
        elif name in REPEATED:
            arguments += [part for each in value for part in (option, each)]
        else:
            text = ",".join(value) if isinstance(value, list) else str(value)
            arguments += [option, text]
    return arguments


def with_ids_as_text(rows):
    """Return rows as the explorer has them, since JavaScript rounds large integers."""
    return [
        {
            name: str(value) if name.startswith("item_id") and value is not None else value
            for name, value in row.items()
        }
        for row in rows
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "question"),
    REQUESTS,
    ids=[f"{metric}-{'-'.join(question)}" for metric, question in REQUESTS],
)
def test_the_command_line_and_the_explorer_give_the_rows_of_the_store(store, metric, question):
    found = store.query(metric, cache=False, **question)
    assert len(found) > 0
    done = CliRunner().invoke(app, command(metric, question, store))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(json.dumps(found.to_pylist()))
    assert all(note in done.stderr for note in found.notes)
    if question.keys() & NOT_ON_THE_PAGE:
        return
    options = {name: value for name, value in question.items() if name in ON_THE_PAGE}
    page = questions.metric(
        store,
        name=metric,
        options=options,
        parameters={name: value for name, value in question.items() if name not in options},
    )
    assert page["rows"] == with_ids_as_text(found.to_pylist())
    assert page["notes"] == found.notes


@pytest.mark.parametrize(("metric", "question"), REQUESTS)
def test_a_result_has_at_most_two_notes_of_which_the_first_counts_the_items(
    store, metric, question
):
    notes = store.query(metric, **question).notes
    assert 1 <= len(notes) <= 2
    assert notes[0].startswith("n = ")
    assert all(note.endswith(".") for note in notes)
