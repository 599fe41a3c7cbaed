"""Hints where a call means something that has another name here."""

from pathlib import Path

import pytest
from synthetic import Synthetic


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
    ],
)
def test_what_has_another_name_here(cli, made: Synthetic, call: list[str], message: str) -> None:
    store = ["--store", made.root, "--space", "toy.word.last"] if call[0] in ("query", "neighbours") else []
    result = cli(*call, *store)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


def test_forgotten_quotes_round_a_sentence(cli, make_store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_address_is_no_store(cli) -> None:
    result = cli("info", "--store", "ftp://example.org/store")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is no URL of a bucket, such as s3://bucket/prefix" in result.stderr
    assert "read at hf://datasets/OWNER/NAME and https://" in result.stderr


def test_checkpoints_that_a_shell_made_of_a_pattern(cli, checkpoint: Path) -> None:
    result = cli("build", "words:9", "--model", checkpoint, checkpoint)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"repeat --model: --model FOLDER --model {checkpoint}" in result.stderr
