"""Draw the pictures of the gallery: python docs/_gallery.py [FOLDER], with the extras minilm and plot.

The datasets are taken from $EMBSTORE_DATA, else downloaded. The page docs/gallery.md is made from PICTURES by cog.
"""

import shlex
import subprocess
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple


class Picture(NamedTuple):
    """A picture of the gallery.

    Attributes:
        options: Options of ``embstore plot``, after the metric.
        caption: What it shows, in a sentence.
    """

    options: str
    caption: str


WORDS = "--space minilm.word.last"
OCCURRENCES = "--space minilm.occurrence.last"

SETUP = (
    r"printf '%s\n' aster clover hyacinth marigold poppy azalea daisy iris orchid rose lily tulip violet > flowers.txt",
    r"printf '%s\n' ant flea spider bedbug fly tarantula bee cockroach gnat mosquito wasp termite beetle > insects.txt",
    r"printf '%s\t%s\n' man woman king queen boy girl father mother son daughter brother sister uncle aunt > kin.txt",
    "embstore datasets add kin kin.txt --kind analogies",
    "embstore build words rg65 wordsim353 simlex999 bellezza kin flowers.txt insects.txt \\\n"
    "  --model minilm --pooling last --pooling mean",
    "embstore build stsb --unit sentence --pooling mean --model minilm",
    "embstore sql \"SELECT text FROM datasets.stsb WHERE genre = 'main-captions' ORDER BY text LIMIT 300\" \\\n"
    "  -o captions.csv",
    "embstore build captions.csv --unit occurrence --model minilm",
)
"""Commands that build the store, with the packaged MiniLM."""

PICTURES = {
    "anisotropy": Picture("", "The mean cosine of all pairs, for each space."),
    "rogue-dims": Picture(WORDS, "The dimensions that make the mean cosine, by number."),
    "norms": Picture("--unit word --column max", "The longest vector of each layer; `--column` chooses."),
    "isoscore": Picture("--unit word", "How evenly the variance fills the dimensions."),
    "partition": Picture("--unit word --sample 2000", "Isotropy of the partition function, on a sample."),
    "effective-rank": Picture("--unit word", "Effective rank, in dimensions."),
    "participation-ratio": Picture("--unit word", "Participation ratio, in dimensions."),
    "spectrum": Picture(WORDS, "Shares of the variance of the first ten components."),
    "intrinsic-dimension": Picture(f"{WORDS} --sample 2000", "TwoNN on a sample of 2,000 words."),
    "hubness": Picture(f"{WORDS} --sample 2000", "Skewness of the k-occurrence on a sample."),
    "uniformity": Picture(f"{WORDS} --sample 2000", "Uniformity on the unit sphere."),
    "alignment": Picture(f"{WORDS} --dataset rg65 --min-score 3", "Distance of pairs of like meaning."),
    "similarity": Picture(
        "--unit word --dataset rg65 --dataset wordsim353 --dataset simlex999",
        "Agreement with human judgements, a panel a dataset, with bootstrap intervals and the best layer.",
    ),
    "analogies": Picture(f"{WORDS} --dataset kin", "Accuracy in analogies, with Wilson's interval."),
    "correlate": Picture(
        f"{WORDS} --column zipf_frequency",
        "Rank correlation of the length of words with their frequency, with intervals.",
    ),
    "valnorm": Picture(WORDS, "Correlation of association with valence."),
    "weat": Picture(f"{WORDS} -x flowers.txt -y insects.txt", "Flowers and insects, pleasant and unpleasant."),
    "sc-weat": Picture(
        f"{WORDS} --word rose --word lily --word daisy --word wasp --word flea --word mosquito",
        "The association of single words, one line each, layers as colours.",
    ),
    "self-similarity": Picture(f"{OCCURRENCES} --per-word", "Words whose contexts change them most and least."),
    "intra-sentence": Picture(f"{OCCURRENCES} --adjusted", "Words and their sentence, above the baseline."),
    "mev": Picture(OCCURRENCES, "Maximum explainable variance."),
    "cka": Picture(
        "--space minilm.word.last --against minilm.word.mean --sample 2000",
        "Layers of two spaces; equal depth is outlined.",
    ),
    "rsa": Picture(f"{WORDS} --sample 500", "Whether two layers find the same pairs similar."),
    "overlap": Picture(f"{WORDS} --sample 1000", "Shared nearest neighbours of two layers."),
    "drift": Picture(f"rose bank dog wasp king {WORDS}", "How the neighbourhoods of words change over the layers."),
}
"""One picture of each metric, and one of drift."""


_NOT_RUN = "<!-- not run: docs/_gallery.py runs it -->"


def command(metric: str) -> str:
    """Return the command that draws the picture of a metric."""
    return " ".join(f"embstore plot {metric} {PICTURES[metric].options} -o {metric}.svg --width 170mm".split())


def page() -> str:
    """Return the generated part of the page, in Markdown."""
    setup = "\n".join(SETUP)
    parts = [f"{_NOT_RUN}\n```bash\n{setup}\n```\n"]
    for metric, picture in PICTURES.items():
        parts.append(f"## {metric}\n\n{picture.caption}\n")
        parts.append(f"![{metric}](gallery/{metric}.svg)\n\n{_NOT_RUN}\n```bash\n{command(metric)}\n```\n")
    return "\n".join(parts)


def draw(folder: Path) -> None:
    """Build the store in a temporary folder, and write all pictures to ``folder``."""
    from embstore_cli.main import app

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, chdir(work):
        # In this process: to load torch and the renderer takes longer than to embed and to draw.
        for line in SETUP:
            program, *arguments = shlex.split(line.replace("\\\n", ""))
            if program != "embstore":
                subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True)
            elif app(arguments, standalone_mode=False):
                raise SystemExit(f"this failed: {line}")
        for metric in PICTURES:
            app([*shlex.split(command(metric))[1:], "--quiet"], standalone_mode=False)
            (folder / f"{metric}.svg").write_bytes(Path(f"{metric}.svg").read_bytes())


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "gallery")
