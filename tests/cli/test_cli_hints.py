"""Calls that are not understood: what may have been meant, and how it is written here."""

import pytest

NORMS = ["query", "norms"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["query", "norms", "--layer", "last"], "unknown layer 'last'. Did you mean 'top'?"),
        (["query", "norms", "--unit", "token"], "Did you mean 'occurrence'?"),
        (["query", "norms", "--format", "md"], "Did you mean 'markdown'?"),
        (["query", "norms", "--where", "text = dog"], "A text stands in single quotes: 'dog', as in text = 'dog'."),
        (["neighbours", "dog", "--where", "text = cat"], "as in text = 'cat'."),
        (["query", "--layer", "6", "norms"], "Options follow the metric: embstore query METRIC --layer …"),
        (["anisotropy"], "Did you mean 'embstore query anisotropy'?"),
        (["anisotropi"], "Did you mean 'embstore query anisotropy'?"),
        (["search", "dog"], "Did you mean 'embstore neighbours TEXT'?"),
        (["embed", "x.txt"], "Did you mean 'embstore build SOURCE'?"),
        (["ls"], "Did you mean 'embstore info'?"),
        (["verfy"], "Did you mean 'verify'"),
        (["bild"], "Did you mean 'build'?"),
        (["build", "--modle", "x"], "--model"),
        (["build", "--limit", "many"], "'--limit'"),
        (["query", "anisotrpy"], "unknown metric 'anisotrpy'. Did you mean 'anisotropy'? Known: anisotropy, "),
        ([*NORMS, "--json", "--csv"], "--format takes one value, and 'json' and 'csv' were given"),
        ([*NORMS, "--unit", "word", "--unit=sentence"], "--unit takes one value"),
        ([*NORMS, "-o", "a.csv", "--output", "b.csv"], "--output takes one value"),
    ],
)
def test_what_was_meant_is_named(refusal, made, call, message):
    store = ["--store", made.root, "--space", "toy.word.last"] if call[0] in ("query", "neighbours") else []
    assert message in refusal(*call, *store)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            ["query", "similarity", "--dataset", "rg65", "simlex999", "my own", "--layer", "0"],
            "unexpected arguments 'simlex999', 'my own'. To give several values, repeat the option: "
            "--dataset rg65 --dataset simlex999 --dataset 'my own'",
        ),
        (
            ["query", "isoscore", "--layer", "0", "--transform=center", "standardize"],
            "'standardize'. To give several values, repeat the option: --transform center --transform standardize",
        ),
        ([*NORMS, "--model", "a", "--layer", "0", "1"], "unexpected argument '1'."),
        ([*NORMS, "dog"], "unexpected argument 'dog'."),
        (["neighbours", "dog", "-k", "x1"], "Error: Invalid value for '-k': 'x1' is not a whole number."),
        (["neighbours", "dog", "-k", "1.5"], "Error: Invalid value for '-k': '1.5' is not a whole number."),
        ([*NORMS, "--timeout", "soon"], "Error: Invalid value for '--timeout': 'soon' is not a number."),
    ],
)
def test_an_argument_too_many_and_a_value_that_is_no_number_are_shown(cli, call, message):
    result = cli(*call)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].endswith(message)


def test_forgotten_quotes_round_a_sentence(cli, make_store, monkeypatch):
    import embstore.query.embed as embedding

    made = make_store(unit="sentence", texts=["a dog runs", "a cat sleeps"])
    layer = made.vectors[:, 0]
    monkeypatch.setattr(
        embedding, "embed_item", lambda card, item, trust: dict(zip(card.layers.ids, layer, strict=True))
    )
    hint = 'If they are one sentence, quote it: "the dog runs"'
    assert hint in cli("neighbours", "the", "dog", "runs", "--embed", "--store", made.root).stderr
    assert hint not in cli("neighbours", "the dog runs", "--embed", "--store", made.root).stderr
    assert "quote it" not in cli("neighbours", "a dog runs", "a cat sleeps", "--store", made.root).stderr


def test_an_address_is_no_store(refusal):
    result = refusal("info", "--store", "ftp://example.org/store")
    assert "is no URL of a bucket, such as s3://bucket/prefix" in result
    assert "read at hf://datasets/OWNER/NAME and https://" in result


def test_checkpoints_that_a_shell_made_of_a_pattern(refusal, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert "repeat --model: --model FOLDER --model b" in refusal("build", "words:9", "--model", "a", "b")
