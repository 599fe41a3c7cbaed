"""An example of each command, and the page of the documentation that is about it."""

from typing import NamedTuple

DOCS = "https://embstore.github.io/embstore/"
"""Address of the documentation, where its pages are in folders: ``how-to/build.md`` is at ``how-to/build/``."""


class Example(NamedTuple):
    """The last lines of a help text."""

    lines: tuple[str, ...]
    page: str

    @property
    def url(self) -> str:
        """Address of the page."""
        return DOCS if self.page == "index.md" else f"{DOCS}{self.page.removesuffix('.md')}/"


EXAMPLES = {
    "": Example(("embstore build words --model minilm", "embstore query anisotropy"), "index.md"),
    "build": Example(
        (
            "embstore build words rg65 --model minilm --model gpt2",
            "embstore build texts.csv --column sentence --unit sentence",
            "embstore build --model EleutherAI/pythia-70m --revision step0,step1000",
        ),
        "how-to/build.md",
    ),
    "import": Example(
        (
            "embstore import glove.6B.300d.txt --name glove",
            "embstore import layers.npy --texts words.txt --name mine --layer 0-12",
        ),
        "how-to/bring-vectors.md",
    ),
    "export": Example(
        (
            "embstore export vectors.parquet --space gpt2.word.last --layer 0,6,top",
            "embstore export gpt2.vec --space gpt2.word.last --layer top --transform center",
        ),
        "how-to/take-vectors.md",
    ),
    "datasets": Example(("embstore datasets", "embstore datasets fetch rg65 stsb"), "how-to/datasets.md"),
    "datasets fetch": Example(("embstore datasets fetch rg65 stsb",), "how-to/datasets.md"),
    "datasets add": Example(
        ("embstore datasets add mine pairs.csv --kind pairs --columns a,b,score",), "how-to/datasets.md"
    ),
    "datasets store": Example(("embstore datasets store rg65 simlex999",), "how-to/bring-vectors.md"),
    "datasets missing": Example(("embstore datasets missing rg65 --model gpt2",), "how-to/datasets.md"),
    "query": Example(
        ("embstore query anisotropy --model gpt2 --layer 0,6,top", "embstore query similarity --dataset rg65 --csv"),
        "how-to/query.md",
    ),
    "plot": Example(
        (
            "embstore plot anisotropy --model gpt2 -o figure.svg",
            "embstore plot --from result.json -o a.pdf -o a.png",
            "embstore plot anisotropy --model pythia-70m --x step --logx",
        ),
        "how-to/plot.md",
    ),
    "plot drift": Example(
        ("embstore plot drift bank river -o drift.svg", "embstore plot drift --most 3 --column turnover -o most.pdf"),
        "how-to/maps.md",
    ),
    "neighbours": Example(
        (
            "embstore neighbours dog -k 5 --layer 0,top",
            "embstore neighbours --positive king,woman --negative man",
            'embstore neighbours --text "the [bank] of the river"',
        ),
        "how-to/neighbours.md",
    ),
    "cosine": Example(
        ("embstore cosine bank river", 'embstore cosine --text "the [bank] of the river" --text "a [bank] lends"'),
        "how-to/neighbours.md",
    ),
    "sql": Example(
        (
            'embstore sql "SELECT unit, count(*) AS n FROM items GROUP BY unit"',
            "embstore sql -f query.sql -p word dog --csv -o result.csv",
        ),
        "how-to/sql.md",
    ),
    "drift": Example(
        ("embstore drift bank river --space gpt2.word.last --layer 0,6,top", "embstore drift --most 20 --model minilm"),
        "how-to/maps.md",
    ),
    "map": Example(
        ("embstore map --model minilm", "embstore map --method tsne --sample 4000 --layer 0-6"), "how-to/maps.md"
    ),
    "explore": Example(("embstore explore", "embstore explore --port 9000 --no-open"), "how-to/explore.md"),
    "report": Example(("embstore report", "embstore report --recipe wolfe2022 -o wolfe2022.html"), "how-to/report.md"),
    "index": Example(("embstore index --kind hnsw --recall 0.99",), "how-to/indexes.md"),
    "reproduce": Example(("embstore reproduce wolfe2022 --quick --model minilm",), "tutorials/wolfe-caliskan.md"),
    "info": Example(("embstore info", "embstore info --skipped -o skipped.csv"), "how-to/maintenance.md"),
    "verify": Example(("embstore verify --deep",), "how-to/maintenance.md"),
    "repair": Example(("embstore repair --dry-run",), "how-to/maintenance.md"),
    "compact": Example(("embstore compact --dry-run",), "how-to/maintenance.md"),
    "merge": Example(("embstore merge ../other/store",), "how-to/several-machines.md"),
    "push": Example(
        (
            "embstore push hf://datasets/group/gpt2-words",
            "embstore push ../small --space gpt2.word.last --layer 0,6,top",
        ),
        "how-to/share-a-store.md",
    ),
    "pull": Example(
        ("embstore pull s3://group/gpt2-words", "embstore pull ../other/store --space gpt2.word.last --dry-run"),
        "how-to/share-a-store.md",
    ),
    "remove": Example(("embstore remove --space gpt2.word.last",), "how-to/maintenance.md"),
    "cite": Example(("embstore cite > references.bib", "embstore cite similarity rg65"), "how-to/scripts.md"),
    "completion": Example(
        ("embstore completion bash > ~/.local/share/bash-completion/completions/embstore",), "reference/cli.md"
    ),
}
EXAMPLES["neighbors"] = EXAMPLES["neighbours"]

_OF_METRICS = {
    "pairs": "--dataset rg65 --layer 0,6,top",
    "analogies": "--dataset google --layer top",
    "lexicon": "--lexicon bellezza --layer top",
    "layers": "--space gpt2.word.last",
    "contexts": "--space gpt2.occurrence.last --sample 10000",
    "neighbours": "--space gpt2.word.last --sample 10000",
    "column": "--column zipf_frequency --value hubness",
}
_OF_METRIC = {"weat": "-x flowers.txt -y insects.txt", "sc-weat": "--word rose --word wasp"}


def example_of(path: str, needs: str = "") -> Example | None:
    """Return the example of a command by its path (``datasets fetch``), if any; ``needs``: of a metric."""
    group, _, metric = path.partition(" ")
    if group != "query" or not metric:
        return EXAMPLES.get(path)
    options = _OF_METRIC.get(metric) or _OF_METRICS.get(needs, "--model gpt2 --layer 0,6,top")
    return Example((f"embstore query {metric} {options}",), "reference/metrics.md")
