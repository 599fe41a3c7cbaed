"""Draw the pictures of the gallery: python docs/_gallery.py [FOLDER], with the extras minilm and
plot.

The datasets are taken from $EMBSTORE_DATA, else downloaded. The pictures are in the reference of
the metrics.
"""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple


class Picture(NamedTuple):
    """A picture of the gallery.

    Attributes:
        options: Options of ``embstore plot``, after the metric.
        caption: What it shows, in a sentence.
        metric: Name of the metric, where the picture has another name.
    """

    options: str
    caption: str
    metric: str | None = None


WORDS = "--space minilm.word.last"
OCCURRENCES = "--space minilm.occurrence.last"

SETUP = (
    (
        r"printf '%s\n' aster clover hyacinth marigold poppy azalea daisy iris orchid rose lily"
        r" tulip violet > flowers.txt"
    ),
    (
        r"printf '%s\n' ant flea spider bedbug fly tarantula bee cockroach gnat mosquito wasp"
        r" termite beetle > insects.txt"
    ),
    (
        r"printf '%s\t%s\n' man woman king queen boy girl father mother son daughter brother sister"
        r" uncle aunt > kin.txt"
    ),
    (
        "embstore build words rg65 wordsim353 simlex999 bellezza flowers.txt insects.txt \\\n"
        "  --model minilm --pooling last --pooling mean"
    ),
    "embstore build stsb --unit sentence --pooling mean --model minilm",
    (
        'embstore sql "SELECT DISTINCT text, left(year, 4) AS year FROM (\n  FROM datasets.stsb'
        " WHERE genre = 'main-captions' ORDER BY text LIMIT 300) ORDER BY text\" -o captions.csv"
    ),
    "embstore build captions.csv --column text --keep year --unit occurrence --model minilm",
    (
        "embstore sql \"SELECT text, CASE WHEN length(text) < 5 THEN 'short' WHEN length(text) < 8"
        " THEN 'medium'\n  ELSE 'long' END AS length_class FROM items WHERE unit = 'word' ORDER BY"
        ' text" -o lengths.csv'
    ),
    (
        "embstore build lengths.csv --column text --keep length_class --model minilm --pooling last"
        " --pooling mean"
    ),
)
"""Commands that build the store, with the packaged MiniLM."""

PICTURES = {
    "anisotropy": Picture("", "The mean cosine of all pairs, for each space."),
    "rogue-dims": Picture(WORDS, "The dimensions that make the mean cosine, by number."),
    "norms": Picture(
        "--unit word --column max", "The longest vector of each layer; `--column` chooses."
    ),
    "isoscore": Picture("--unit word", "How evenly the variance fills the dimensions."),
    "partition": Picture(
        "--unit word --sample 2000", "Isotropy of the partition function, on a sample."
    ),
    "effective-rank": Picture("--unit word", "Effective rank, in dimensions."),
    "participation-ratio": Picture("--unit word", "Participation ratio, in dimensions."),
    "spectrum": Picture(WORDS, "Shares of the variance of the first ten components."),
    "intrinsic-dimension": Picture(f"{WORDS} --sample 2000", "TwoNN on a sample of 2,000 words."),
    "intrinsic-dimension-scales": Picture(
        f"{WORDS} --estimator gride --sample 2000",
        "Dimension over scales: a plateau would be an answer; here it grows with the number of"
        " neighbours.",
        "intrinsic-dimension",
    ),
    "prompt-entropy": Picture(
        f"{OCCURRENCES} --by context --average --transform center --transform normalize",
        "Entropy of the words of a caption, its mean over captions with an interval.",
    ),
    "curvature": Picture(
        f"{OCCURRENCES} --by context --average",
        "Mean angle between the steps from word to word, its mean over captions.",
    ),
    "hubness": Picture(f"{WORDS} --sample 2000", "Skewness of the k-occurrence on a sample."),
    "uniformity": Picture(f"{WORDS} --sample 2000", "Uniformity on the unit sphere."),
    "alignment": Picture(
        f"{WORDS} --dataset rg65 --min-score 3", "Distance of pairs of like meaning."
    ),
    "similarity": Picture(
        "--unit word --dataset rg65 --dataset wordsim353 --dataset simlex999",
        "Agreement with human judgements, a panel a dataset, with intervals and the best layer.",
    ),
    "similarity-versus": Picture(
        "--unit word --dataset rg65 --dataset wordsim353 --dataset simlex999 --versus best",
        "The same, with circles round the layers that were not found to differ from the best one.",
        "similarity",
    ),
    "analogies": Picture(
        f"{WORDS} --dataset kin.txt", "Accuracy in analogies, with Wilson's interval."
    ),
    "correlate": Picture(
        f"{WORDS} --column zipf_frequency",
        "Rank correlation of the length of words with their frequency, with intervals.",
    ),
    "valnorm": Picture(WORDS, "Correlation of association with valence."),
    "weat": Picture(
        f"{WORDS} -x flowers.txt -y insects.txt", "Flowers and insects, pleasant and unpleasant."
    ),
    "sc-weat": Picture(
        f"{WORDS} --word rose --word lily --word daisy --word wasp --word flea --word mosquito",
        "The association of single words, one line each, layers as colours.",
    ),
    "axis": Picture(
        f"{WORDS} --positive good,happy,love,peace --negative bad,sad,hate,war --layer 0,3,6",
        "The items at both ends of an axis between two sets of words, layer by layer.",
    ),
    "knn": Picture(
        "--unit word --label length_class --sample 2000",
        "Accuracy of a label, here the length of words, by nearest neighbours; dotted: the largest"
        " class.",
    ),
    "clusters": Picture(
        f"{WORDS} --label length_class --sample 1000 --runs 5",
        "Agreement of clusters with a label: 0 is chance, so that these clusters are not of"
        " length.",
    ),
    "probe": Picture(
        f"{WORDS} --label length_class --sample 400 --folds 3 --layer 0,2,4,6",
        "Accuracy of a linear probe, with control task and largest class: layers 4 and 6 have both"
        " in their intervals.",
    ),
    "self-similarity": Picture(
        f"{OCCURRENCES} --per-word", "Words whose contexts change them most and least."
    ),
    "intra-sentence": Picture(
        f"{OCCURRENCES} --adjusted", "Words and their sentence, above the baseline."
    ),
    "mev": Picture(OCCURRENCES, "Maximum explainable variance."),
    "change": Picture(
        f"{OCCURRENCES} --by year --word man --word in --word on --word with --layer 0,3,6",
        "Change of words between adjacent years of the captions; circles: no change was found.",
    ),
    "ceat": Picture(
        f"{OCCURRENCES} -x man,boy -y woman,girl -a dog,cat -b guitar,piano",
        "The distribution of effect sizes over contexts: its median, and where 90 % of the draws"
        " are.",
    ),
    "cka": Picture(
        "--space minilm.word.last --against minilm.word.mean --sample 2000",
        "Layers of two spaces; equal depth is outlined.",
    ),
    "cka-calibrated": Picture(
        f"{WORDS} --sample 500 --permutations 200 --column calibrated",
        "The same for one space, above what shuffled items reach.",
        "cka",
    ),
    "rsa": Picture(f"{WORDS} --sample 500", "Whether two layers find the same pairs similar."),
    "overlap": Picture(f"{WORDS} --sample 1000", "Shared nearest neighbours of two layers."),
    "procrustes": Picture(
        f"{WORDS} --sample 1000", "The angle that is left after the best rotation."
    ),
    "cknna": Picture(
        f"{WORDS} --sample 1000", "CKA over the nearest neighbours that two layers have in common."
    ),
    "predictivity": Picture(
        f"{WORDS} --sample 400", "How well a layer (down) predicts another (across) linearly."
    ),
    "imbalance": Picture(
        f"{WORDS} --sample 1000",
        "Whether neighbours in a layer (down) are near in another (across): in layer 6 one short"
        " vector is near many.",
    ),
    "drift": Picture(
        f"rose bank dog wasp king {WORDS}",
        "How the neighbourhoods of words change over the layers.",
    ),
}
"""One picture or more of each metric, and one of drift."""


def command(name: str) -> str:
    """Return the command that draws a picture."""
    picture = PICTURES[name]
    return " ".join(
        f"embstore plot {picture.metric or name} {picture.options} -o {name}.svg --width 170mm".split()
    )


def draw(folder: Path, prepare: Callable[[Path], object] = lambda store: None) -> None:
    """Build the store in a temporary folder, and write all pictures to ``folder``.

    ``prepare`` may put a store there that has some of the texts.
    """
    from embstore_cli.main import app

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, chdir(work):
        prepare(Path("store"))
        # In this process, since loading torch takes longer than embedding and drawing.
        for line in SETUP:
            program, *arguments = shlex.split(line.replace("\\\n", ""))
            if program != "embstore":
                subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True)
            elif app(arguments, standalone_mode=False):
                raise SystemExit(f"this failed: {line}")
        for name in PICTURES:
            app([*shlex.split(command(name))[1:], "--quiet"], standalone_mode=False)
            (folder / f"{name}.svg").write_bytes(Path(f"{name}.svg").read_bytes())


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "gallery")
