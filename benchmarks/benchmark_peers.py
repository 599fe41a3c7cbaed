"""What else people keep vectors in, each asked for the neighbours of a stored word by a process of
its own.
"""

import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from benchmark_start import embstore_command
from benchmark_stores import Clustered, Made, Workspace
from benchmark_timing import installed
from numpy.typing import NDArray

K = 10
_INDEXED = 50_000  # vectors from which LanceDB's get an index: below, a scan of them is as fast

Vectors = NDArray[np.float32]


class Peer(Protocol):
    """What keeps vectors with texts, and has a command or a library that finds the nearest.

    Attributes:
        name: in the table.
        package: what must be installed.
    """

    @property
    def name(self) -> str: ...
    @property
    def package(self) -> str: ...
    def one_shot(self, space: Workspace, made: Clustered, word: str) -> Sequence[str]:
        """Return the command that prints the nearest K of a stored word, after making what it
        reads.
        """


@dataclass(frozen=True)
class Embstore:
    """embstore's own command."""

    name: str = "embstore"
    package: str = "embstore"

    def one_shot(self, space: Workspace, made: Clustered, word: str) -> Sequence[str]:
        """See :meth:`Peer.one_shot`."""
        return embstore_command("neighbours", word, "-k", str(K), "--store", str(made.store))


@dataclass(frozen=True)
class Gensim:
    """KeyedVectors, saved with their norms, memory-mapped."""

    name: str = "gensim"
    package: str = "gensim"

    def one_shot(self, space: Workspace, made: Clustered, word: str) -> Sequence[str]:
        """See :meth:`Peer.one_shot`."""
        path = (
            space.made(
                f"gensim-{key(self.package, made)}", lambda path: self._make(path, made)
            ).path
            / "vectors.kv"
        )
        return _python(
            "from gensim.models import KeyedVectors",
            f"print(KeyedVectors.load({str(path)!r}, mmap='r').most_similar({word!r}, topn={K}))",
        )

    def _make(self, path: Path, made: Clustered) -> None:
        from gensim.models import KeyedVectors

        path.mkdir()
        vectors = KeyedVectors(made.vectors.shape[1])
        vectors.add_vectors(list(made.texts), np.array(made.vectors))
        vectors.fill_norms()
        vectors.save(str(path / "vectors.kv"))


@dataclass(frozen=True)
class DuckDB:
    """A table with an array column, scanned by ``array_cosine_similarity``."""

    name: str = "DuckDB"
    package: str = "duckdb"

    def one_shot(self, space: Workspace, made: Clustered, word: str) -> Sequence[str]:
        """See :meth:`Peer.one_shot`."""
        path = self.database(space, made)
        select = (
            "SELECT text, array_cosine_similarity(vector, (SELECT vector FROM vectors WHERE text ="
            f" ?)) AS cosine FROM vectors ORDER BY cosine DESC LIMIT {K + 1}"
        )
        return _python(
            "import duckdb",
            f"print(duckdb.connect({str(path)!r}, read_only=True).execute({select!r},"
            f" [{word!r}]).fetchall())",
        )

    def database(self, space: Workspace, made: Clustered) -> Path:
        """Return the file with the table ``vectors``."""
        return space.made(
            f"duckdb-{key(self.package, made)}", lambda path: self._make(path, made)
        ).path

    def _make(self, path: Path, made: Clustered) -> None:
        import duckdb

        with duckdb.connect(path) as connection:
            rows = arrow_table(made)
            connection.execute(
                f"CREATE TABLE vectors AS SELECT text, vector::FLOAT[{made.vectors.shape[1]}] AS"
                " vector FROM rows"
            )
            del rows


@dataclass(frozen=True)
class LanceDB:
    """A table with an index on the text; from 50,000 items on an IVF_HNSW_SQ too, whose hits are
    ranked exactly.
    """

    name: str = "LanceDB"
    package: str = "lancedb"

    def one_shot(self, space: Workspace, made: Clustered, word: str) -> Sequence[str]:
        """See :meth:`Peer.one_shot`."""
        path = lance_table(space, made).path
        return _python(
            "import lancedb",
            f"table = lancedb.connect({str(path)!r}).open_table('vectors')",
            f"[row] = table.search().where(\"text = '{word}'\").limit(1).to_list()",
            "query = table.search(row['vector']).distance_type('cosine').refine_factor(3)",
            f"found = query.select(['text', '_distance']).limit({K + 1}).to_list()",
            "print([(row['text'], 1 - row['_distance']) for row in found])",
        )


@dataclass(frozen=True)
class Llm:
    """A collection of simonw's llm, asked by the id of a stored item: nothing is embedded."""

    name: str = "llm similar"
    package: str = "llm"

    def one_shot(self, space: Workspace, made: Clustered, word: str) -> Sequence[str]:
        """See :meth:`Peer.one_shot`."""
        path = space.made(
            f"llm-{key(self.package, made)}", lambda path: self._make(path, made)
        ).path
        return (
            sys.executable,
            "-m",
            "llm",
            "similar",
            "vectors",
            word,
            "-n",
            str(K),
            "-d",
            str(path),
        )

    def _make(self, path: Path, made: Clustered) -> None:
        import llm
        import sqlite_utils

        class Model(llm.EmbeddingModel):
            model_id = "synthetic"

            def embed_batch(self, items):  # type: ignore[no-untyped-def]
                raise AssertionError("nothing is embedded")

        database = sqlite_utils.Database(path)
        collection = llm.Collection("vectors", database, model=Model())
        shape = f"<{made.vectors.shape[1]}f"
        database["embeddings"].insert_all(
            {
                "collection_id": collection.id,
                "id": text,
                "embedding": struct.pack(shape, *vector),
                "updated": 0,
            }
            for text, vector in zip(made.texts, made.vectors, strict=True)
        )
        database.close()


PEERS: tuple[Peer, ...] = (Gensim(), LanceDB(), DuckDB(), Llm())
SLOW = ("llm similar",)
"""Peers that compute in Python, vector by vector."""


def commands_of(space: Workspace, made: Clustered, word: str) -> Mapping[str, Sequence[str]]:
    """Return the commands of embstore and of the peers that take part, which ask for the neighbours
    of a word.
    """
    left_out = {*space.size.without, *(SLOW if len(made.texts) > space.size.slow else ())}
    there = [peer for peer in PEERS if installed(peer.package) and peer.name not in left_out]
    return {peer.name: peer.one_shot(space, made, word) for peer in (Embstore(), *there)}


def not_installed() -> list[Peer]:
    """Return the peers that are not there to be asked."""
    return [peer for peer in PEERS if not installed(peer.package)]


def lance_table(space: Workspace, made: Clustered) -> Made:
    """Return the folder of a LanceDB with the table ``vectors``."""

    def make(path: Path) -> Mapping[str, float]:
        import lancedb
        from lancedb.index import BTree, HnswSq

        began = time.perf_counter()
        table = lancedb.connect(path).create_table("vectors", arrow_table(made))
        table.create_index("text", config=BTree())
        written = time.perf_counter()
        if len(made.texts) < _INDEXED:
            return {"writing": written - began}
        table.create_index("vector", config=HnswSq(distance_type="cosine"))
        return {"writing": written - began, "indexing": time.perf_counter() - written}

    return space.made(f"lancedb-{key('lancedb', made)}", make)


def arrow_table(made: Clustered):  # type: ignore[no-untyped-def]
    """Return the texts and vectors as an Arrow table."""
    import pyarrow as pa

    flat = pa.array(np.asarray(made.vectors).reshape(-1))
    return pa.table(
        {
            "text": made.texts,
            "vector": pa.FixedSizeListArray.from_arrays(flat, made.vectors.shape[1]),
        }
    )


def key(package: str, made: Clustered) -> str:
    """Return what a peer's store depends on, for its name."""
    return f"{installed(package)}-{made.file.stem}"


def _python(*lines: str) -> Sequence[str]:
    return (sys.executable, "-W", "ignore", "-c", "\n".join(lines))
