"""Labels, differences, shuffles, axes and change on the command line: bad input, and what each
option does.
"""

import json
import re

import numpy as np
import pytest
from datasets_written import write_lexicon, write_pairs
from kept_columns import write_columns
from synthetic import synthetic_store

SENTENCES = [
    f"{first} bank {last}" for first in ("the", "my", "our", "a")
    for last in ("of river", "near sea", "with money", "by road", "in town")
]  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Words with columns, words whose embedding layer is constant, and occurrences of two years."""
    folder = tmp_path_factory.mktemp("claims")
    words = synthetic_store(folder / "words", n=60, dim=6, n_blocks=2, top_form=None)
    write_pairs(words)
    write_lexicon(words, words.texts[:30])
    columns = {
        "pos": [None if number % 10 == 9 else "NV"[number % 2] for number in range(60)],
        "one": ["x"] * 60,
        "freq": [number / 7 for number in range(60)],
        "own": [f"c{number}" for number in range(60)],
        "rare": ["ab"[number > 56] for number in range(60)],
        "giant": ["g" if number < 50 else f"h{number}" for number in range(60)],
        "nulls": [None, *["z"] * 59],
        "const": [1.5] * 60,
    }
    write_columns(words, columns)
    x = np.random.default_rng(0).normal(size=(2, 20, 4)).astype(np.float32)
    x[0] = 1
    flat = synthetic_store(folder / "flat", n=20, dim=4, n_blocks=1, top_form=None, vectors=x)
    write_pairs(flat)
    uses = synthetic_store(
        folder / "uses", unit="occurrence", texts=SENTENCES, dim=4, n_blocks=1, top_form=None
    )
    write_columns(uses, {"year": [1900 + 50 * ("a" in item.context.split()[0]) for item in uses.items],
                         "same": [1] * len(uses.items)})  # fmt: skip
    return {"words": words, "flat": flat, "uses": uses}


CEAT = "ceat -x river,sea -y town,road -a the, -b my,"
AXIS = "axis --positive text1,text2 --negative text3,"
REFUSED = {
    "similarity --dataset rg65 --versus 7": [
        "unknown space or layer '7'. Known: best, toy.word.last, 0, 1, 2."
    ],
    "similarity --dataset rg65 --versus 0 --layer 0": ["there is nothing to compare it with."],
    "similarity --dataset rg65 --versus best --layer 0": ["there is nothing to compare it with."],
    "similarity --dataset rg65 --versus toy.word.last": [
        "nothing to compare it with. Take more layers, or another sp"
    ],
    "similarity --dataset rg65 --versus toy.word.lst": [
        "Did you mean 'toy.word.last'? Known: best, toy.word.last, 0, 1, 2."
    ],
    "similarity --dataset rg65 --versus best --by pos": ["leave out --by"],
    "cka --over max": ["--over max has an effect with --permutations alone"],
    "cka --block pos": ["--block pos has an effect with --permutations alone"],
    "cka --permutations 9 --block one": ["1 orders of 1 blocks: too few for a p of .05."],
    "cka --permutations 9 --block nope": [
        "unknown column of toy.word.last 'nope'. Known: text, const,"
    ],
    "knn": ["knn needs a column of the items: --label NAME. Known: text, "],
    "clusters --label freq": [
        "clusters needs classes, and 'freq' has numbers. Cut it: --label-bins 4"
    ],
    "knn --label freq --label-bins 9,1": [
        "label_bins must be a number from 1 to 1,000, or two or more ascending edges"
    ],
    "knn --label pos --label-bins 3": [
        "--label-bins is for columns of numbers, and 'pos' has none: leave it out."
    ],
    "probe --label pos --group nope": ["unknown column of toy.word.last 'nope'"],
    "predictivity --group nope": ["unknown column of toy.word.last 'nope'"],
    "imbalance --distance manhattan": ["unknown distance 'manhattan'. Known: euclidean, cosine."],
    "intrinsic-dimension --estimator grid": ["Did you mean 'gride'?"],
    "axis": ["axis needs --positive WORDS and --negative WORDS"],
    "axis --positive text1,zebra --negative text2,": [
        "lacks 1 of the 2 positive words: 'zebra'",
        "--missing skip",
    ],
    f"{AXIS} --by pos": ["leave out --by"],
    "correlate --column freq --value axis": [
        "correlate needs --positive WORDS and --negative WORDS"
    ],
    "correlate --column freq --positive text1,": [
        "--positive is a pole of an axis: add --value axis, or leave it out."
    ],
    "ceat -x text1, -y text2, -a text3, -b text4,": [
        "ceat is about occurrence or token spaces, and none is among"
    ],
    "change --by pos": ["change is about occurrence or token spaces"],
    "change @uses": [
        "change needs a column of the items: --by NAME. Known: text, context, same, year"
    ],
    "change --by nope @uses": ["unknown column of toy.occurrence.last 'nope'"],
    "change --by year --word zebra @uses": ["'zebra' has no occurrence"],
    "ceat @uses": ["ceat needs --x WORDS and --y WORDS"],
    "ceat -x river,sea -y town,zebra -a the, -b my, @uses": [
        "lacks 1 of the 2 words of Y: 'zebra'",
        "--missing skip",
    ],
    "axis --positive bank, --negative river, @uses": ["axis is about word or sentence spaces"],
}
ANSWERED = {
    "knn --label pos": ["null_left_out = 6 (items without a label)", "n = 54"],
    "knn --label one": ["fewer than two classes."],
    "knn --label own": ["each item is a class of its own."],
    "clusters --label own": ["each item is a class of its own."],
    "probe --label own": ["each item is a class of its own."],
    "knn --label nulls": ["fewer than two classes.", "n = 59"],
    "knn --label pos -k 60": ["60 neighbours of 53 other items: take a smaller k."],
    "probe --label rare --no-control --layer 0": ["1 of 2 classes have fewer items than there are folds."],
    "probe --label pos --folds 61": ["fewer than 61 items."],
    "probe --label pos --group one": ["fewer than 6 groups."],
    "probe --label pos --group giant --folds 2 --no-control --layer 0": ["accuracy", "n = 54"],
    "probe --label const": ["the values of the column are all equal."],
    "probe --label const --versus best": ["fewer than two layers have a value that can be compared."],
    "predictivity --group one": ["fewer than 5 groups."],
    "imbalance -k 60": ["60 neighbours of 59 other items: take a smaller k."],
    "similarity --dataset rg65 --versus best @flat": ["fewer than two layers have a value that can be compared."],
    "cka @flat": ["layer 0: its vectors are all alike"],
    "cknna @flat": ["layer 0: its directions are all equal up to rounding."],
    "imbalance @flat": ["layer 0: its vectors are all equal up to rounding."],
    "procrustes --permutations 19 --over max @flat": ["layer 0: its vectors are all equal up to rounding."],
    "predictivity @flat": ["layer 0: its vectors are all equal up to rounding."],
    "intrinsic-dimension --estimator gride --layer 0 @flat": ["fewer than three different vectors."],
    "axis --positive text1, --negative text1,": ["the two poles are the same."],
    "axis --positive text1,zebra --negative text2, --missing skip": [
        "lacks 1 of the 2 positive words: 'zebra'.",
    ],
    "change --by same @uses": ["fewer than two groups."],
    "change --by year --min-contexts 99 @uses": ["no word has 99 contexts in two groups."],
    "change --by year --min-contexts 99 --word bank @uses": ["fewer than 99 contexts in a group."],
    "ceat -x river,sea -y town,zebra -a the, -b my, --missing skip @uses": ["lacks 1 of the 2 words of Y: 'zebra'."],
    "ceat -x river,sea -y river,sea -a the, -b the, @uses": ["'river', 'sea': in both X and Y."],
}  # fmt: skip


def run(cli, stores, call, *more, code=0):
    arguments, _, store = call.partition(" @")
    return cli(
        "query",
        *arguments.split(),
        *more,
        "--store",
        stores[store or "words"].root,
        code=code,
        env={"COLUMNS": "80"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("call", REFUSED)
def test_what_cannot_be_asked_says_what_to_do(cli, stores, call):
    result = run(cli, stores, call, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("embstore: ")
    assert len(result.stderr.splitlines()) == 1
    for part in REFUSED[call]:
        assert part in result.stderr


@pytest.mark.slow
def test_spaces_are_called_otherwise_where_label_is_a_column(cli, stores, tmp_path):
    called = ("--space-label", "toy.word.last=Ours")
    assert "Ours" in run(cli, stores, "knn --label pos --format latex", *called).stdout
    assert run(cli, stores, "knn --label pos", *called, "--json", code=2).stderr.startswith(
        "embstore: --space-label is for"
    )
    picture, store = tmp_path / "knn.svg", stores["words"].root
    cli("plot", "knn", "--label", "pos", *called, "-o", picture, "--store", store)
    assert "Ours" in picture.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("call", ANSWERED)
def test_what_has_no_value_says_why(cli, stores, call):
    result = run(cli, stores, call)
    assert "Warning" not in result.output
    for part in ANSWERED[call]:
        assert part in result.stderr or part in result.stdout, result.output


# Each new metric, and options of it that change a number.
ASKED = {
    "knn --label pos -k 3": ["-k 4", "--label rare", "--versus best --layer all"],
    "clusters --label pos --runs 2": ["--runs 3", "--seed 3"],
    "probe --label pos --folds 2 --repeats 1": [
        "--folds 3",
        "--repeats 2",
        "--seed 4",
        "--no-control",
        "--group giant",
    ],
    "procrustes": ["--permutations 19"],
    "predictivity": ["--folds 4", "--seed 3", "--group giant", "--permutations 19"],
    "cknna -k 5": ["-k 6", "--permutations 19"],
    "imbalance": ["-k 2", "--distance cosine", "--permutations 19 --over max"],
    "cka --permutations 19": ["--permutations 29", "--over max", "--block own", "--seed 4"],
    AXIS: ["-k 2", "--top 3", "--positive text4,"],
    "correlate --column freq --value axis --positive text1, --negative text2,": [
        "--negative text3,"
    ],
    "intrinsic-dimension --estimator gride": ["--neighbours 4"],
    "change --by year --permutations 49 @uses": [
        "--permutations 59",
        "--seed 3",
        "--min-contexts 3",
    ],
    f"{CEAT} --draws 50 @uses": ["--draws 60", "--seed 3", "--missing skip"],
}


def rows(cli, stores, call, *more):
    result = run(cli, stores, call, "--format", "json", *more)
    return json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("call", ASKED)
def test_each_option_has_an_effect_and_answers_are_kept(cli, stores, call):
    first = rows(cli, stores, call)
    assert rows(cli, stores, call) == first
    assert rows(cli, stores, call, "--no-cache") == first
    explained = run(cli, stores, call, "--explain").stdout
    if "@uses" not in call:
        assert "is stored" in explained or "are stored" in explained, explained
        some = rows(cli, stores, call, "--layer", "1,2")
        assert {row["layer"] for row in some} == {1, 2}
        of_layers = [
            row for row in first if row["layer"] in (1, 2) and row.get("layer_2") in (None, 1, 2)
        ]
        ignored = ("best", "p", "threshold", "calibrated")
        assert [{key: row[key] for key in row if key not in ignored} for row in some] == [
            {key: row[key] for key in row if key not in ignored} for row in of_layers
        ]
    arguments, _, store = call.partition(" @")
    for more in ASKED[call]:
        option, value = (*more.split(maxsplit=1), "")[:2]
        kept = re.sub(f" {option} [^ ]+", "", arguments)
        assert rows(cli, stores, f"{kept} {option} {value} @{store or 'words'}") != first, more
    assert rows(cli, stores, call, "--transform", "center") != first
    chosen = rows(cli, stores, call, "--where", "item_id % 3 <> 0")
    assert [row["n"] for row in chosen] != [row["n"] for row in first]
    listed = rows(
        cli,
        stores,
        call,
        "--words",
        ",".join([f"text{number}" for number in range(15)] + ["the", "bank"]),
    )
    assert {row["words_missing"] for row in listed} <= {2, 15}
    cited = cli("cite", call.split()[0])
    assert "@" in cited.stdout
