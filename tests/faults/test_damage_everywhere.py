"""A flipped bit and a truncation in each kind of file: verify names the file, and no question gets a wrong answer."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fault_figures import WRONG, Tally
from fault_stores import TRUTH, build, wrong_answers

from embstore import Store
from embstore.errors import EmbstoreError
from embstore.storage.hidden import HIDDEN

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from store_files import bits, damaged, flipped

KINDS = {
    "marker": "store.json",
    "items": "items/*.parquet",
    "skipped": "skipped/*.parquet",
    "dataset": "datasets/*.parquet",
    "card": "spaces/toy.word.last.json",
    "shard": "embeddings/space=toy.word.last/*.parquet",
    "summary": "summaries/space=toy.word.last/*.parquet",
    "index": "indexes/space=toy.word.last/*.faiss",
    "index card": "indexes/space=toy.word.last/*.json",
    "hidden shards": f"embeddings/space=toy.word.last/{HIDDEN}",
    "hidden tables": f"items/{HIDDEN}",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("damage") / "store"
    build(root)
    Store(root).compact()
    assert TRUTH.texts
    return root


def _ask(said: list[str], question: Callable[[], object]) -> object:
    try:
        return question()
    except EmbstoreError as error:
        said.append(str(error))
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_or_a_cut(store: Path, kind: str, tally: Callable[[str, str], Tally]) -> None:
    path = sorted(store.glob(KINDS[kind]))[0]
    data = path.read_bytes()
    others = [flipped(data, bit) for bit in bits(data, 10, seed=len(data))]
    for after in (*others, b"", data[:-1], data[: len(data) // 3]):
        counts = tally("flipped bit" if len(after) == len(data) else "cut", kind)
        counts["faults"] += 1
        with damaged(path, after):
            said: list[str] = []
            wrong = wrong_answers(Store(store), partial(_ask, said))
            counts[WRONG] += len(wrong)
            assert wrong == []
            assert not [error for error in said if path.name not in error and path.parent.name not in error]
            named = [problem.file for problem in Store(store).verify().problems]
            assert path.resolve() in named
    assert Store(store).verify(deep=True).ok
