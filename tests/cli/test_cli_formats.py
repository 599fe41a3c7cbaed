"""The format of a result: by its option, its shortcuts or the suffix of the output file; options that are repeated."""

import json
import re

import pytest

CALL = ["query", "norms", "--space", "toy.word.last", "--layer", "0"]


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "md", "parquet", "tex", "txt"])
def test_the_suffix_of_the_output_chooses_the_format_unless_that_is_named(cli, made, tmp_path, suffix):
    form = {"md": "markdown", "txt": "table", "tex": "latex"}.get(suffix, suffix)
    file, other = tmp_path / f"result.{suffix.upper()}", tmp_path / "other.csv"
    for call in ([*CALL, "--store", made.root], ["datasets"]):
        assert cli(*call, "-o", file).exit_code == 0
        assert file.read_bytes() == cli(*call, "--format", form).stdout_bytes != b""
        assert cli(*call, "--format", form, "-o", other).exit_code == 0
        assert other.read_bytes() == file.read_bytes()
        if form in ("json", "csv"):  # which have options of their own
            assert cli(*call, f"--{form}").stdout_bytes == file.read_bytes()
    if form != "parquet":
        assert cli(*call, "--format", form, "-o", "-").stdout_bytes == file.read_bytes(), "a dash is standard output"
        assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(("suffix", "message"), [("xlsx", "Excel opens .csv"), ("dat", "--format")])
def test_an_unknown_suffix_is_refused_before_anything_is_computed(cli, made, tmp_path, monkeypatch, suffix, message):
    monkeypatch.setattr("embstore.Store.query", lambda *_, **__: pytest.fail("it was computed"))
    result = cli(*CALL, "--store", made.root, "-o", tmp_path / f"x.{suffix}")
    assert (result.exit_code, result.stdout) == (2, "")
    known = "Known: .txt, .json, .jsonl, .ndjson, .csv, .md, .tex, .parquet"
    assert f"unknown file type '.{suffix}'. {known}" in result.stderr
    assert message in result.stderr
    assert not (tmp_path / f"x.{suffix}").exists()


def test_layers_may_be_repeated_and_plurals_are_understood(cli, made):
    def shown(*options: str) -> str:
        result = cli("query", "norms", "--store", made.root, *options)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    wanted = shown("--space", "toy.word.last", "--layer", "0,2")
    assert shown("--spaces", "toy.word.last", "--layers", "0,2") == wanted
    assert shown("--space", "toy.word.last", "--layer", "0", "--layer", "2") == wanted
    assert shown("--space", "toy.word.last", "--layer", "0,2", "--store", made.root) == wanted, "the same store twice"
    assert shown("--models", "toy", "--unit", "word", "--layers=0,2") == wanted
    for command in (["query", "norms"], ["build"], ["reproduce"], ["index"], ["neighbours"], ["merge"], ["remove"]):
        listed = cli(*command, "--help").stdout
        assert not {"--layers", "--models", "--spaces"} & set(listed.replace(",", " ").split())


def test_what_is_centred_is_centered_too(cli, made):
    def shown(*options: str) -> str:
        result = cli("query", "anisotropy", "--store", made.root, "--space", "toy.word.last", *options)
        assert result.exit_code == 0, result.stderr
        return result.output

    wanted = shown("--variant", "centred", "--json")
    for spelling in ("center", "centre", "centered"):
        assert shown("--variant", spelling, "--json") == wanted
    wanted = shown("--transform", "center", "--transform", "standardize", "--json")
    assert shown("--transform", "centred", "--transform", "standardise", "--json") == wanted


def test_words_are_added_and_subtracted_by_lists_with_commas(cli, made):
    calls = (
        ["--positive", "text1,text2", "--negative", "text3,"],
        ["--positive", "text1", "--positive", "text2", "--negative", "text3"],
        ["--positive", "text1, text2", "--negative", "text3"],
    )
    shared = ["--space", made.space, "--json", "--store", made.root]
    first, *others = (cli("neighbours", *call, *shared).stdout for call in calls)
    assert {first} == {*others}
    assert {row["query"] for row in json.loads(first)} == {"text1 + text2 - text3"}
    occurrences = ["--positive", "a [bank], lends,", "--unit", "occurrence", "--store", made.root]
    assert "'a [bank], lends,' is not in" in cli("neighbours", *occurrences).stderr
    sentence = ["--positive", "Well, I see,text1", "--space", made.space, "--store", made.root]
    assert "'Well, I see' is not in" in cli("neighbours", *sentence).stderr


def test_printed_tables_have_the_labels_of_figures_or_given_ones(cli, refusal, made):
    call = ["query", "anisotropy", *CALL[2:], "--store", made.root]
    assert "\nlayer & toy, words, last token " in cli(*call, "--format", "latex").stdout
    for form in ("table", "markdown", "latex"):
        result = cli(*call, "--label", "toy.word.last=Ours", "--format", form)
        assert "Ours: toy.word.last" in result.stderr
        assert "toy.word.last" not in "".join(re.sub("^%.*\n", "", result.stdout, flags=re.M))
    for label, form, message in (
        ("toy.word.lats=Ours", "table", "unknown space to label 'toy.word.lats'. Did you mean 'toy.word.last'?"),
        ("Ours", "table", "'Ours' is no label: write SPACE=TEXT"),
        ("toy.word.last=Ours", "csv", "--label is for table, markdown and latex: csv has spaces by name."),
    ):
        assert message in refusal(*call, "--label", label, "--format", form)
