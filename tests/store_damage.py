"""A store with a file of every kind, and ways to damage one."""

from pathlib import Path

from synthetic import Synthetic, synthetic_store

from embstore.space import Unit
from embstore.storage.merged import write_all_merged
from embstore.storage.tables import SkippedText, write_dataset, write_skipped

KINDS = {
    "marker": "store.json",
    "items": "items/*.parquet",
    "skipped": "skipped/*.parquet",
    "dataset": "datasets/*.parquet",
    "card": "spaces/*.json",
    "shard": "embeddings/*/*.parquet",
    "summary": "summaries/*/*.parquet",
    "merged summary": "merged/*.parquet",
    "index": "indexes/*/*.faiss",
    "index card": "indexes/*/*.json",
    "answer": "answers/*.json",
}


def full_store(root: Path) -> Synthetic:
    """A store with a file of every kind; called again it writes what is missing."""
    made = synthetic_store(root, n=20, dim=6, n_blocks=1, new_only=True)
    synthetic_store(
        root, unit="occurrence", texts=["the bank of the river", "a bank"], dim=6, n_blocks=1, new_only=True
    )
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(20)], "note": ["é"] * 20}
    write_dataset(made.paths, "words", "word list", Unit.WORD, columns)
    write_skipped(made.paths, [SkippedText("", "skipped", "no tokens", made.space, 7, "words.txt:3")])
    write_all_merged(made.paths)
    made.store.query("partition", spaces=made.space, layers=0)
    return made


def damaged_bytes(data: bytes, change: str) -> bytes:
    """The bytes of a file after some accident."""
    middle = len(data) // 2
    return {
        "bit": data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :],
        "empty": b"",
        "a byte short": data[:-1],
        "half": data[:middle],
        "a byte more": data + b"\n",
        "zeros": bytes(len(data)),
    }[change]
