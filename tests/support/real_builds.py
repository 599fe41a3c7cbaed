"""Real builds and indexes for the fault tests: a tiny checkpoint, texts of which some are skipped,
and the truth.
"""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from fault_stores import is_anisotropy, is_nearest
from tiny_checkpoint import LAYERS, assert_same_content, content, make_checkpoint, texts

from embstore import Store
from embstore.storage.cache import StoreFiles
from embstore.storage.manifest import Change

KINDS = ("flat", "hnsw")
N_WORDS, N_FIRST = 300, 200
POOLINGS = ("last", "mean")
SHARD_BYTES = 60 * 4 * 32 * 4
_TOO_LONG_EVERY = 25


def set_up(folder):
    """Put beside the stores in a folder what they are built from: the sources, and the
    checkpoint.
    """
    make_checkpoint(folder / "tiny")
    lines = [
        f"{'far ' * 90}{n}" if n % _TOO_LONG_EVERY == 0 else f"w{n}{'sea' * (n % 5)}"
        for n in range(N_WORDS)
    ]
    (folder / "first.txt").write_text("\n".join(lines[:N_FIRST]))
    (folder / "words.txt").write_text("\n".join([*lines, "", lines[1]]))


def take_along(source, target):
    """Copy what stores are built from."""
    shutil.copytree(source / "tiny", target / "tiny", dirs_exist_ok=True)
    for name in ("first.txt", "words.txt"):
        shutil.copy(source / name, target / name)


def build(root, *, source="words.txt", poolings=POOLINGS, index="auto"):
    """Build from what lies beside the store."""
    with _one_thread():
        Store(root).build(
            str(root.parent / source),
            models=f"tiny={root.parent / 'tiny'}",
            poolings=poolings,
            index=index,
            batch_tokens=256,
            shard_bytes=SHARD_BYTES,
        )


build_one_space = partial(build, poolings=POOLINGS[:1])


def build_behind(folder):
    """Build stores ``before index KIND`` whose indexes lack the newest shards: some are of that
    kind, some not.
    """
    first, both = folder / "first", folder / "both"
    build_one_space(first, source="first.txt", index="none")
    shutil.copytree(first, both)
    build_one_space(both, index="none")
    for kind in KINDS:
        root = shutil.copytree(first, folder / f"before index {kind}")
        with _one_thread():
            Store(root).index(kind="hnsw" if kind == "flat" else "flat", layers="2,raw")
            Store(root).index(kind=kind, layers="0,1")
        indexed = StoreFiles.of_folder(root).manifest()
        shutil.copytree(root / "indexes", folder / f"indexes {kind}")
        build_one_space(root, index="none")  # which deletes them
        shutil.copytree(folder / f"indexes {kind}", root / "indexes")
        of_first = {
            key: entry for key, entry in indexed.files.items() if key.startswith("indexes/")
        }
        assert of_first
        StoreFiles.of_folder(root).commit(Change(of_first))


def index(root, kind):
    """Bring the indexes up to date by extending some, and make others anew; of each, the whole
    answer is wanted.
    """
    with _one_thread():
        done = Store(root).index(kind=kind, recall=1.0)
    assert {row["index"] for row in done.to_pylist()} == {kind}


index_flat, index_hnsw = (partial(index, kind=kind) for kind in KINDS)


@contextmanager
def _one_thread():
    """Keep FAISS and torch from starting threads: of the other processes at work, each has some."""
    import faiss
    import torch

    threads = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        faiss.omp_set_num_threads(threads[1])


@dataclass(frozen=True)
class Whole:
    """What a store holds in the end, as a build without a fault made it.

    Attributes:
        root: that store.
        vectors: space → layer → item id → vector.
        texts: item id → text.
        skipped: the texts without a vector, and the reasons.
        is_exact: whether the indexes are, of this store and of those that become it.
    """

    root: Path
    vectors: dict[str, dict[int, dict[int, np.ndarray]]]
    texts: dict[int, str]
    skipped: frozenset[tuple[str, ...]]
    is_exact: bool

    @classmethod
    def of(cls, root, *, is_exact):
        whole = cls(root, content(root), texts(root), skipped(root), is_exact)
        n_long = N_WORDS // _TOO_LONG_EVERY
        assert len(whole.texts) == N_WORDS - n_long
        assert len([row for row in whole.skipped if row[0].startswith("far")]) == n_long * len(
            whole.vectors
        )
        return whole

    def wrong_answers(self, root, layer):
        """Ask a store that may hold less about a layer of all of its spaces, and return what is not
        so.
        """
        store = Store(root)
        wrong = ["other texts are skipped"] if not skipped(root) <= self.skipped else []
        for space in store.catalog.cards:
            truth = self.vectors[space][layer]
            ids, found, vectors = store.vectors(space, LAYERS[layer])
            if not set(ids.tolist()) <= truth.keys() or len(set(ids.tolist())) != len(ids):
                wrong.append(f"{space}: items that are not in the source, or twice")
                continue
            right = np.array([truth[item] for item in ids.tolist()]).reshape(vectors.shape)
            if (
                np.linalg.norm(vectors - right, axis=1) > 1e-4 * np.linalg.norm(right, axis=1)
            ).any():
                wrong.append(f"{space} layer {layer}: other vectors")
            if found != [self.texts[item] for item in ids.tolist()]:
                wrong.append(f"{space}: other texts")
            if len(ids) > 1:
                row = store.query("anisotropy", spaces=space, layers=LAYERS[layer]).rows[0]
                if not is_anisotropy(row, vectors, tolerance=1e-6):
                    wrong.append(f"{space} layer {layer}: anisotropy {row}")
                for exact in (False, True):
                    call = {"spaces": space, "layers": LAYERS[layer], "k": 1, "exact": exact}
                    near = store.neighbours(found[0], **call).to_pylist()[0]
                    if not is_nearest(near, found, vectors, is_exact=exact or self.is_exact):
                        wrong.append(f"{space} layer {layer}: nearest is {near}")
        return wrong

    def is_again(self, root):
        """Return how a store that was built to the end is not this one."""
        wrong = [] if skipped(root) == self.skipped else ["other texts are skipped"]
        try:
            assert_same_content(root, self.root)
        except AssertionError as error:
            wrong.append(f"other content: {error}")
        return wrong


def skipped(root):
    """Return the texts without a vector, with all that the store says of them but where they
    stand.
    """
    rows = Store(root).skipped().to_pylist()
    return frozenset(
        (row["text"], row["outcome"], row["reason"], str(row["space"])) for row in rows
    )
