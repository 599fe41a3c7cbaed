"""Write what other packages make of the audit's vectors into ``tests/golden/audit.json``.

Most of these packages do not live beside numpy 2: each runs in an environment of its own, and its
numbers are kept. Run with the Python of such an environment, this script renews the entries of the
packages that it finds there:

    uv venv -p 3.11 /tmp/a && uv pip install -p /tmp/a "numpy<2" dadapy==0.3.4
    scikit-dimension==0.5.0 wefe==1.0.1 uv pip install -p /tmp/a
    git+https://github.com/ahwillia/netrep uv venv -p 3.11 /tmp/b && uv pip install -p /tmp/b
    rsatoolbox==0.3.2 cka-pytorch==1.1.3 uv venv -p 3.7 /tmp/c && uv pip install -p /tmp/c
    scikit-learn==0.21.3 scipy joblib tqdm tabulate numba pybind11 uv pip install -p /tmp/c
    --no-deps scikit-hubness==0.21.2 for env in /tmp/a /tmp/b /tmp/c; do $env/bin/python
    benchmarks/audit_numbers.py; done

``--vectors``, in embstore's own environment with MiniLM, renews the vectors themselves; then renew
all of the above. It keeps to what Python 3.7 reads.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

try:
    from importlib.metadata import PackageNotFoundError, version
except ImportError:  # before Python 3.8; numba brings it
    from importlib_metadata import PackageNotFoundError, version

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
VECTORS, NUMBERS = GOLDEN / "audit.npz", GOLDEN / "audit.json"
LAYERS = (0, 6)
TARGETS_AND_ATTRIBUTES = {
    "x": "aster clover poppy iris orchid rose daffodil lilac tulip daisy lily violet",
    "y": "ant flea spider fly bee cockroach mosquito beetle cricket wasp moth locust",
    "a": "caress freedom health love peace cheer friend heaven loyal pleasure diamond gentle",
    "b": "abuse crash filth murder sickness accident death grief poison stink assault disaster",
}
OTHERS = (
    "autograph shore monk boy automobile wizard mound stove grin sage bird tree glass jewel"
    " magician crane brother oracle cushion slave cemetery coast forest woodland hill food fruit"
    " furnace implement cord string noon midday car journey voyage tool smile lad king queen river"
    " bank money water music paper stone window garden city winter summer"
)
SETS = {name: words.split() for name, words in TARGETS_AND_ATTRIBUTES.items()}
WORDS = list(dict.fromkeys([word for words in SETS.values() for word in words] + OTHERS.split()))


def layers():
    """Return the vectors of each layer, float64 (n, dim)."""
    with np.load(str(VECTORS)) as stored:
        return {layer: stored[f"layer{layer}"].astype(np.float64) for layer in LAYERS}


def of_each_layer(function):
    """Return what a function gives for the vectors of each layer."""
    return {str(layer): function(x) for layer, x in layers().items()}


def dadapy():
    from dadapy import IdEstimation, MetricComparisons

    def dimensions(x):
        data = IdEstimation(x, maxk=len(x) - 1)
        data.compute_distances()
        found, errors, distances = data.return_id_scaling_gride(range_max=64)
        return {
            "twonn_ls": float(data.compute_id_2NN()[0]),
            "twonn_mle_unbiased": float(data.compute_id_2NN(algorithm="ml")[0]),
            "gride": found.tolist(),
            "gride_errors": errors.tolist(),
            "gride_distances": distances.tolist(),
        }

    both = np.hstack([*layers().values()])
    data, dim = MetricComparisons(both, maxk=len(both) - 1), both.shape[1] // 2
    first, fifth = (
        data.return_inf_imb_two_selected_coords([*range(dim)], [*range(dim, 2 * dim)], k=k)
        for k in (1, 5)
    )
    return dict(
        of_each_layer(dimensions),
        imbalance={"1": list(map(float, first)), "5": list(map(float, fifth))},
    )


def scikit_dimension():
    from skdim.id import MLE, TwoNN, lPCA

    def dimensions(x):
        return {
            "twonn_ls": float(TwoNN(discard_fraction=0.1).fit(x).dimension_),
            "twonn_ls_discard_0.3": float(TwoNN(discard_fraction=0.3).fit(x).dimension_),
            "mle_20": float(
                MLE(neighborhood_based=True).fit(x, n_neighbors=20, comb="mle").dimension_
            ),
            "participation_ratio": float(lPCA(ver="participation_ratio").fit(x).dimension_),
        }

    return of_each_layer(dimensions)


def netrep():
    from netrep.metrics import LinearMetric

    metric, (first, second) = (
        LinearMetric(alpha=1.0, center_columns=True, score_method="angular"),
        layers().values(),
    )
    return {"angle": float(metric.fit(first, second).score(first, second))}


def wefe():
    from gensim.models import KeyedVectors
    from wefe.metrics import WEAT
    from wefe.query import Query
    from wefe.word_embedding_model import WordEmbeddingModel

    def association(x):
        vectors = KeyedVectors(x.shape[1])
        vectors.add_vectors(WORDS, x.astype(np.float32))
        query = Query([SETS["x"], SETS["y"]], [SETS["a"], SETS["b"]])
        found = WEAT().run_query(query, WordEmbeddingModel(vectors, "minilm"))
        return {"statistic": float(found["weat"]), "effect_size_ddof0": float(found["effect_size"])}

    return of_each_layer(association)


def scikit_hubness():
    from skhubness import Hubness

    def hubs(x, metric):
        found = (
            Hubness(k=10, return_value="all", metric=metric, algorithm="brute", shuffle_equal=False)
            .fit(x)
            .score()
        )
        return {
            "skewness": float(found["k_skewness"]),
            "hub_share": len(found["hubs"]) / len(x),
            "hub_occurrence": float(found["hub_occurrence"]),
            "antihub_share": float(found["antihub_occurrence"]),
        }

    return {
        metric: of_each_layer(lambda x, metric=metric: hubs(x, metric))
        for metric in ("cosine", "euclidean")
    }


def rsatoolbox():
    from rsatoolbox.rdm import RDMs, compare
    from scipy.spatial.distance import pdist

    first, second = (RDMs(pdist(x, "cosine")[None]) for x in layers().values())
    return {
        name: float(compare(first, second, method=method)[0, 0])
        for name, method in (("pearson", "corr"), ("spearman", "spearman"))
    }


def cka_pytorch():
    import torch
    from cka_pytorch.hsic import hsic1

    grams = [torch.from_numpy(x @ x.T)[None] for x in layers().values()]
    both, first, second = (float(hsic1(grams[i], grams[j])) for i, j in ((0, 1), (0, 0), (1, 1)))
    return {"unbiased": both / (first * second) ** 0.5}


PACKAGES = {
    "dadapy": dadapy,
    "scikit-dimension": scikit_dimension,
    "netrep": netrep,
    "wefe": wefe,
    "scikit-hubness": scikit_hubness,
    "rsatoolbox": rsatoolbox,
    "cka-pytorch": cka_pytorch,
}


def make_numbers():
    """Renew the entries of the packages that this environment has."""
    numbers = json.loads(NUMBERS.read_text("utf-8")) if NUMBERS.exists() else {}
    for name, function in PACKAGES.items():
        try:
            numbers[name] = {"version": version(name), "numpy": np.__version__}
        except PackageNotFoundError:
            continue
        numbers[name]["found"] = function()
    NUMBERS.write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n", "utf-8")


def make_vectors():
    """Embed the words with MiniLM, and keep their vectors as float16."""
    from embstore import Store

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words.txt"
        words.write_text("\n".join(WORDS) + "\n", "utf-8")
        store = Store(Path(folder) / "store")
        store.build(str(words), models="minilm", layers="0,6", index="none")
        for layer in LAYERS:
            _, texts, vectors = store.vectors("minilm.word.last", layer)
            found[f"layer{layer}"] = vectors[[texts.index(word) for word in WORDS]].astype(
                np.float16
            )
    np.savez_compressed(str(VECTORS), **found)


if __name__ == "__main__":
    make_vectors() if "--vectors" in sys.argv else make_numbers()
