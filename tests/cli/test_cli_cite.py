"""``embstore cite``: BibTeX on standard output, what is not known on standard error."""

import bibtexparser
from synthetic import synthetic_store

from embstore.metrics import METRICS


def keys(text: str) -> list[str]:
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    return [entry.key for entry in library.entries]


def test_without_a_store_it_is_embstore(cli):
    result = cli("cite")
    assert (result.exit_code, keys(result.stdout), result.stderr) == (0, ["embstore"], "")


def test_a_store_a_result_and_names(cli, tmp_path):
    synthetic_store(tmp_path / "store", n=20, index=False)
    result = cli("cite")
    assert keys(result.stdout) == ["embstore", "checkpoint-toy-checkpoint"]
    assert result.stderr.startswith("toy/checkpoint: no publication is known for this checkpoint.")
    assert cli("query", "cka", "--layer", "0,1", "--output", "r.json").exit_code == 0
    result = cli("cite", "--from", "r.json")
    assert keys(result.stdout) == [
        "embstore",
        *METRICS["cka"].references,
        "checkpoint-toy-checkpoint",
    ]
    assert keys(cli("cite", "rg65", "gpt2").stdout) == ["rubenstein1965", "radford2019"]
    assert cli("cite", "rg65", "--output", "refs.bib").stdout == ""
    assert keys((tmp_path / "refs.bib").read_text()) == ["rubenstein1965"]


def test_mistakes_are_named(refusal, tmp_path):
    (tmp_path / "r.json").write_text("{}")
    assert "unknown name 'isoscor'" in refusal("cite", "isoscor")
    assert "r.json is not a result" in refusal("cite", "--from", "r.json")
    assert "none.json" in refusal("cite", "--from", "none.json")
    assert "nowhere" in refusal("cite", "--store", "nowhere")
