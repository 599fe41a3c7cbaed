"""Bad input: exit 2, nothing on standard output, and what names the thing, the place, the remedy,
or what was meant.
"""

import json
import os

import numpy as np
import pytest

from embstore.base.atomic import document_bytes


@pytest.fixture
def refused(cli):
    def run(*call, **options):
        result = cli(*call, **options, code=2)
        assert result.stdout == ""
        assert result.stderr.startswith("embstore: ")
        assert len(result.stderr.splitlines()) == 1
        return result.stderr

    return run


# Of a store: thing, place, remedy.
OF_A_STORE = {
    "metric": (
        ["query", "anisotrop"],
        ["unknown metric 'anisotrop'", "Did you mean 'anisotropy'?", "Known: anis"],
    ),
    "model": (
        ["query", "norms", "--model", "tooy"],
        ["Did you mean 'toy'?", "Known: other, toy", "build --model tooy"],
    ),
    "space": (
        ["query", "norms", "--space", "toy.word.lst"],
        ["'toy.word.lst'", "mean 'toy.word.last'", "Known: "],
    ),
    "layer": (
        ["query", "norms", "--layer", "17", "--space", "toy.word.last"],
        ["unknown layer '17'", "Known: 0, 1, 2, 3, raw, all, top, normed"],
    ),
    "pooling that no space has": (
        ["query", "norms", "--pooling", "eos"],
        ["no space matches pooling 'eos'", "The store holds: "],
    ),
    "store": (["info", "--store", "nowhere"], ["no store at", "nowhere", "--model minilm --store"]),
    "column of --where": (["query", "norms", "--where", "txt = 'dog'"], ["txt", "item_id", "text"]),
    "text": (
        ["neighbours", "dgo", "--space", "toy.word.last"],
        ["'dgo' is not in toy.word.last", "Nearest stored texts: 'dog'", "embed"],
    ),
    "no text": (["neighbours"], ["text"]),
    "brackets": (["neighbours", "--text", "the bank"], ["brackets", "the [bank] of the river"]),
    "combination": (
        ["neighbours", "dog", "--positive", "cat"],
        ["either texts or positive and negative", "not both"],
    ),
    "method without words": (["neighbours", "dog", "--method", "3cosmul"], ["3cosmul", "positive"]),
    "one text": (["cosine", "dog"], ["at least two different texts", "embstore cosine bank river"]),
    "k": (["neighbours", "dog", "-k", "0"], ["k", "at least 1", "0"]),
    "sample": (["query", "norms", "--sample", "0"], ["sample", "at least 1", "0"]),
    "memory below what DuckDB starts with": (
        ["query", "norms", "--where", "text < 'b'", "--memory", "1KB"],
        ["at least 1 MB, not 1,000 bytes", "memory"],
    ),
    "no store": (
        ["query", "norms", "--store", ""],
        ["by an empty string", "without a name it is $EMBSTORE_STORE"],
    ),
    "no layer": (["query", "norms", "--layer", ""], ["no layer in the selection", "such as top"]),
    "empty list of words": (
        ["query", "norms", "--words", ""],
        ["words cannot be an empty string", "a file"],
    ),
    "folder of the output": (
        ["query", "norms", "-o", "no/x.csv"],
        ["no/x.csv", "there is no folder no.", "--output"],
    ),
    "folder as output": (
        ["query", "norms", "-o", "."],
        [". cannot be written: it is a folder", "--output"],
    ),
    "ids as text in CSV": (
        ["neighbours", "dog", "--csv", "--ids-as-text"],
        ["--ids-as-text is about JSON", "jsonl"],
    ),
}


@pytest.mark.parametrize("case", OF_A_STORE)
def test_a_question_that_cannot_be_answered(refused, made, case):
    call, parts = OF_A_STORE[case]
    error_line = refused(*call, *(["--store", made.root] if "--store" not in call else []))
    for part in parts:
        assert part in error_line


# Of a build: found before any model is loaded. ``{}`` is the checkpoint.
OF_A_CALL = {
    "pooling": (
        ["words:9", "--pooling", "lats"],
        ["unknown pooling 'lats'", "Did you mean 'last'", "projection"],
    ),
    "pooling of no checkpoint": (["words:9", "--pooling", "x"], ["bos, eos, projection, model."]),
    "poolings known to the field": (
        ["words:9", "--pooling", "CLS"],
        ["unknown pooling 'CLS'", "Did you mean 'bos'?"],
    ),
    "template field": (
        ["words:9", "--template", "{txt}"],
        ["unknown template field 'txt'", "Did you mean 'text'?"],
    ),
    "name": (["words:9", "--name", "a/b"], ["'a/b' cannot name a space", "letters, digits"]),
    "limit": (["words:9", "--limit", "0"], ["limit must be at least 1, not 0"]),
    "batch tokens": (
        ["words:9", "--batch-tokens", "0"],
        ["batch_tokens must be at least 1, not 0"],
    ),
    "per text": (["words:9", "--per-text", "2"], ["per_text", "'occurrence'", "'word'"]),
    "missing file": (["texst.txt"], ["texst.txt does not exist", "Did you mean texts.txt"]),
    "column": (
        ["table.csv", "--column", "wrod"],
        ["unknown column 'wrod'", "Did you mean 'word'?", "table.csv"],
    ),
    "no column named": (["terms.csv"], ["terms.csv", "columns", "term"]),
    "standard input twice": (["-", "-"], ["standard input", "once"]),
    "model of a checkpoint without a recipe": (
        ["words:9", "--pooling", "model"],
        [
            "no pooling 'model'",
            "'tiny' declares no recipe of its own",
            "(modules.json)",
            "Known for words: last",
        ],
    ),
    "a prompt of another pooling": (
        ["words:9", "--prompt", "query"],
        ["the prompt 'query' belongs to pooling 'model'", "the pooling is 'last'", "template"],
    ),
    "one name for two spaces": (
        ["words:9", "--name", "x", "--pooling", "last", "--pooling", "mean"],
        ["--name", "2"],
    ),
    "projection of GPT-2": (
        ["words:9", "--unit", "sentence", "--pooling", "projection"],
        [
            "no pooling 'projection'",
            "'tiny' has no text projection",
            "Known for sentences: last, first, mean",
        ],
    ),
    "layer": (["words:9", "--layer", "3"], ["unknown layer '3'", "Known: 0, 1, 2, raw"]),
    "device": (["words:9", "--device", "gpu"], ["'gpu'", "--device cpu"]),
    "device of no backend": (
        ["words:9", "--device", "fpga"],
        ["the device 'fpga' cannot", "--device cpu"],
    ),
}


@pytest.mark.parametrize("case", OF_A_CALL)
def test_a_build_that_cannot_be_done(cli, checkpoint, tmp_path, case):
    (tmp_path / "texts.txt").write_text("dog\n")
    (tmp_path / "table.csv").write_text("word,other\ndog,cat\n")
    (tmp_path / "terms.csv").write_text("term,other\ndog,cat\n")
    call, parts = OF_A_CALL[case]
    result = cli("build", *call, "--model", f"tiny={checkpoint}", code=2)
    error_line = result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert error_line.startswith("embstore: ")
    for part in parts:
        assert part in error_line
    assert not (tmp_path / "store").exists()


def test_a_folder_that_is_no_store_or_one_of_another_format(refused, tmp_path, checkpoint):
    (tmp_path / "thesis.tex").write_text("mine")
    error_line = refused("info", "--store", tmp_path)
    assert f"{tmp_path} is not a store: it has no manifest" in error_line
    assert "EMBSTORE_STORE" in error_line
    (tmp_path / "newer" / "manifest").mkdir(parents=True)
    (tmp_path / "newer" / "manifest" / f"{1:020d}.json").write_bytes(document_bytes({"format": 99}))
    for call in (["info"], ["build", "words:9", "--model", f"tiny={checkpoint}"]):
        assert "pip install --upgrade embstore" in refused(*call, "--store", "newer")


def test_a_store_without_a_space(cli, tmp_path):
    from embstore.storage.writer import StoreWriter

    with StoreWriter(tmp_path / "store"):
        pass
    info = cli("info")
    assert "The store holds no space yet. Fill it with: embstore build" in info.stderr
    assert cli("info", "--json").stdout == "[]\n"
    assert "No text was skipped." in cli("info", "--skipped").stderr
    assert "holds no space yet" in cli("query", "norms", code=2).stderr


def test_too_little_memory_is_a_line(refused, made, monkeypatch):
    def fail(*_arguments, **_options):
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setattr("embstore.Store.query", fail)
    assert "not enough memory (Unable to allocate 8.00 TiB)" in refused(
        "query", "spectrum", "--store", made.root
    )


@pytest.mark.parametrize(
    "call",
    [
        ["import", "vectors.npy", "--name", "x", "--texts", "given.txt"],
        ["plot", "--from", "given.json", "-o", "x.svg"],
        ["sql", "--file", "given.sql"],
        ["query", "norms", "--words", "given.txt"],
    ],
    ids=" ".join,
)
def test_a_file_that_is_not_regular_is_refused(refused, tmp_path, made, call):
    np.save(tmp_path / "vectors.npy", np.ones((2, 3), np.float32))
    [name] = (word for word in call if word.startswith("given"))
    os.mkfifo(tmp_path / name)  # nobody ever writes to it
    store = [] if call[0] == "plot" else ["--store", str(made.root)]
    assert f"{name} is not a regular file" in refused(*call, *store)


NORMS = ["query", "norms"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ([*NORMS, "--layer", "last"], "unknown layer 'last'. Did you mean 'top'?"),
        (
            [*NORMS, "--where", "text = dog"],
            "A text stands in single quotes: 'dog', as in text = 'dog'.",
        ),
        (["neighbours", "dog", "--where", "text = cat"], "as in text = 'cat'."),
        (
            ["query", "anisotrpy"],
            "unknown metric 'anisotrpy'. Did you mean 'anisotropy'? Known: anisotropy, ",
        ),
        (["query", "anisotropy", "--variant", "centerd"], "Did you mean 'centred'?"),
        (["anisotropy", "--layer", "0"], "a metric: embstore query anisotropy --layer 0"),
        (["query", "sql", "SELECT 1"], "not a metric but a command: embstore sql 'SELECT 1'"),
        (
            ["query", "--space=a", *NORMS],
            "--space stands after the metric: embstore query METRIC --space …",
        ),
        (["--layer", "0", *NORMS], "--layer stands after the command: embstore COMMAND --layer …"),
        ([*NORMS, "--where", "text = 'absent'"], "no item is selected: none fits --where"),
        (["plot", "norms", "--words", "absent,"], "no item is selected: none fits --where"),
        (["drift", "--where", "false"], "no item is selected: none fits --where"),
        ([*NORMS, "--versus", ""], "--versus is empty: name a layer, a space, or best."),
        ([*NORMS, "--versus", "toy.wrod.last"], "unknown space or layer 'toy.wrod.last'. Did you"),
        ([*NORMS, "--lowest", "2", "--highest", "2"], "a result has one order"),
        (
            ["query", "mev", "--adjusted", "--baseline", "group"],
            "--baseline group is for groups of items: name their column, as in --by context.",
        ),
        (
            ["query", "mev", "--baseline", "group", "--by", "context"],
            "--baseline group has an effect with --adjusted alone",
        ),
        ([*NORMS, "--transform", "center,normalize"], "Give several one by one."),
        ([*NORMS, "--json", "--csv"], "one format, not csv and json"),
        ([*NORMS, "--store-option", "region"], "--store-option takes key=value"),
    ],
)
def test_what_was_meant_is_named(refusal, made, call, message):
    assert message in refusal(*call, "--store", made.root, "--space", "toy.word.last")


LONG = ",".join(f"text{number}" for number in range(80))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["cite", LONG], "unknown name 'text0,text1,"),
        (["reproduce", LONG], "unknown paper 'text0,text1,"),
        ([*NORMS, "--space", LONG], "unknown space 'text0'"),
        (["build", f"{LONG}.txt"], "The name is too long: shorten it."),
        ([*NORMS, "-o", f"{LONG}.csv", "--quiet"], "cannot be written: File name too long."),
    ],
    ids=["cite", "reproduce", "space", "source", "output"],
)
def test_what_is_too_long_for_the_name_of_a_file(refusal, made, call, message):
    store = [] if call[0] in ("build", "reproduce") else ["--store", str(made.root)]
    assert message in refusal(*call, *store)


def test_lists_too_long_for_the_name_of_a_file(cli, made):
    space = ["--store", str(made.root), "--space", "toy.word.last", "--layer", "0", "--json"]
    [row] = json.loads(cli(*NORMS, "--words", LONG, "--quiet", *space).stdout)
    assert (row["n"], row["words_missing"]) == (30, 50)
    sets = ["--x", LONG, "--y", "dog,cat", "--a", "dog,", "--b", "cat,", "--missing", "skip"]
    [row] = json.loads(cli("query", "weat", *sets, "--quiet", *space).stdout)
    assert row["n"] == 34


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (["neighbours", "k=10"], "'k=10' is not in "),
        (["query", "anisotropy", "--store", "runs/seed=0/none"], "runs/seed=0/none. Make one"),
        (["build", "runs/seed=0/x.txt", "--model", "minilm"], "runs/seed=0/x.txt does not exist"),
        ([*NORMS, "--where", "unit='word' AND (text='a'"], "unit='word' AND (text='a'"),
    ],
)
def test_what_a_user_wrote_stays_as_it_is(refusal, made, call, written):
    store = [] if {"--store", "build"} & {*call} else ["--store", made.root]
    assert written in refusal(*call, *store)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["toy.word.last"], "toy.word.last is of words, each by itself"),
        (["toy.occurrence.last", "--min", "3"], "no word of toy.occurrence.last has 3 vectors"),
        (["toy.occurrence.last", "--name", "a/b"], "'a/b' cannot name a space"),
    ],
)
def test_what_cannot_be_pooled(refusal, made, call, message):
    files = made.files.manifest().files
    assert message in refusal("pool", "--name", "x", *call, "--store", made.root)
    assert made.files.manifest().files == files


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (["verfy"], ["'verfy'", "'verify'"]),
        (["neighbors", "dog"], ["'neighbors'", "'neighbours'"]),
        (["build", "--modle", "x"], ["--modle", "--model"]),
        (["query", "--layers", "6", "norms"], ["--layers"]),
        (["datasets", "ad"], ["'ad'", "'add'"]),
        (["build", "--limit", "many"], ["'--limit'"]),
        (["build", "words", "--dtype", "float8"], ["'float8'", "'float16'"]),
        (["build", "words", "--long", "cut"], ["'cut'", "'truncate'"]),
        (["index", "--kind", "ivf"], ["'ivf'", "'hnsw'"]),
        (["merge"], ["OTHER"]),
        ([*NORMS, "--unit", "wrod"], ["'wrod'", "'word'"]),
        ([*NORMS, "--unit", ""], ["'--unit'", "'word'"]),
        ([*NORMS, "--pooling", "lats"], ["'lats'", "'last'"]),
        ([*NORMS, "--format", "jsno"], ["'jsno'", "'json'"]),
        ([*NORMS, "--timeout", "soon"], ["'--timeout'"]),
        (["query", "rogue-dims", "-k", "0"], ["'-k'", "greater than or equal to 1"]),
        (["query", "rogue-dims", "-k", "1e3"], ["'-k'"]),
        (["neighbours", "dog", "-k", "x1"], ["'-k'"]),
        (["neighbours", "dog", "-k", "1.5"], ["'-k'"]),
        (["neighbours", "--positive", "dog", "--method", "3cosmull"], ["'3cosmul'"]),
        (["compact", "--shard-megabytes", "0"], ["'--shard-megabytes'"]),
    ],
    ids=" ".join,
)
def test_what_typer_refuses(refusal, call, names):
    """The name of the command, option or value, and those that there are."""
    message = refusal(*call)
    assert "Usage: embstore" in message
    for name in names:
        assert name in message


def test_a_query_is_of_one_store(refusal):
    for command in (["query", "norms"], ["query", "norms", "--explain"], ["neighbours", "dog"]):
        assert "pandas.concat" in refusal(*command, "--store", "a", "--store", "b")


def test_an_address_is_no_store(refusal):
    result = refusal("info", "--store", "ftp://example.org/store")
    assert "is no URL of a bucket, such as s3://bucket/prefix" in result
    assert "read at hf://datasets/OWNER/NAME and https://" in result


def test_checkpoints_that_a_shell_made_of_a_pattern(refusal, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert "b is a checkpoint, not a source" in refusal("build", "words:9", "--model", "a", "b")
