"""``embstore cite``: BibTeX on standard output, what is not known on standard error."""

import bibtexparser
from synthetic import synthetic_store


def keys(text):
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    return [entry.key for entry in library.entries]


def test_without_a_store_it_is_embstore(cli):
    result = cli("cite")
    assert (keys(result.stdout), result.stderr) == (["embstore"], "")


def test_a_store_and_names(cli, tmp_path):
    synthetic_store(tmp_path / "store", n=20, index=False)
    result = cli("cite")
    assert keys(result.stdout) == ["embstore", "checkpoint-toy-checkpoint"]
    assert result.stderr.startswith("toy/checkpoint: no publication is known for this checkpoint.")
    assert keys(cli("cite", "rg65", "gpt2").stdout) == ["rubenstein1965", "radford2019"]
    assert cli("cite", "rg65", "--output", "refs.bib").stdout == ""
    assert keys((tmp_path / "refs.bib").read_text()) == ["rubenstein1965"]


def test_mistakes_are_named(refusal):
    assert "unknown name 'isoscor'" in refusal("cite", "isoscor")
    assert "nowhere" in refusal("cite", "--store", "nowhere")
