"""Store the number of tokens of each item of a build: counted while it is encoded, else by the tokenizer alone."""

from collections.abc import Sequence
from itertools import compress

import numpy as np

from embstore.base.progress import Observer, Progress
from embstore.build.job import Job, SpacePlan, item_passages
from embstore.encode import reader
from embstore.storage.files.item_columns import token_column
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.column_tables import remove_columns
from embstore.storage.staging.columns import StoredColumn, TokenColumn
from embstore.storage.staging.staging import Ids
from embstore.storage.transaction.manifest import committed_shards

Counts = tuple[Ids, Ids]
"""Item ids and numbers of tokens, both int64 (n,)."""


def forget_token_counts(job: Job, paths: StorePaths) -> None:
    """Remove the numbers of tokens of spaces that have no vectors: those of a space of the same name before."""
    names = [space.card.space for space in job.spaces]
    if empty := [token_column(name) for name in names if not committed_shards(paths, name)]:
        remove_columns(paths, empty)


def store_token_counts(
    job: Job, paths: StorePaths, encoded: dict[str, list[Counts]], observe: Observer
) -> list[StoredColumn]:
    """Store the number of tokens of each item of a job that has a vector, for each of its spaces.

    The tokens are those of the item itself, without special tokens, the template and the prompt. They are counted anew
    only for items that have a vector and no number: an earlier build was interrupted, or did not count them.

    Args:
        job: The job, whose vectors are written.
        paths: Paths of the store.
        encoded: Space name → ids and numbers of tokens of the items that this build has encoded, in parts.
        observe: Callback for progress.

    Returns:
        The column of each space.
    """
    return [
        _stored(job, space, TokenColumn(paths, name), encoded[name], observe)
        for space, name in ((space, space.card.space) for space in job.spaces)
    ]


def _stored(job: Job, space: SpacePlan, column: TokenColumn, encoded: list[Counts], observe: Observer) -> StoredColumn:
    present = job.missing.present_ids(space.card.space, job.parts)
    uncounted = column.without_value(present)
    if len(uncounted):
        encoded = [*encoded, *_counted(job, space, uncounted, observe)]
    ids, n_tokens = _joined(encoded)
    order = np.argsort(ids)
    n_new = column.write(ids[order], n_tokens[order])
    n_before = len(present) - len(uncounted)
    return StoredColumn(column.name, "int64", n_before + len(ids), n_new)


def _counted(job: Job, space: SpacePlan, ids: Ids, observe: Observer) -> list[Counts]:
    """Count the tokens of some items, given by ascending ids (n,), as the model of a space reads them."""
    tokenizer = reader(job.model.tokenizer, [space.card.pooling], space.card.prompt)
    found: list[Counts] = []
    subject, n_done = f"the tokens of {space.card.space}", 0
    for batch in job.missing.staging.batches():
        batch_ids = np.array([item.id for item in batch], np.int64)
        is_chosen = ids[np.searchsorted(ids, batch_ids).clip(max=len(ids) - 1)] == batch_ids
        items = list(compress(batch, is_chosen.tolist()))
        passages = item_passages(items, job.model.tokenizer, job.options)
        for texts, _ in tokenizer.windows(passages, poolings=(), long="truncate"):
            found += [(np.array(text.item_ids, np.int64), np.array(text.item_lengths, np.int64)) for text in texts]
        n_done += len(items)
        observe(Progress("read", subject, n_done, len(ids), n_done / len(ids)))
    return found


def _joined(parts: Sequence[Counts]) -> Counts:
    """Return parts as one."""
    empty = np.empty(0, np.int64)
    ids, n_tokens = (np.concatenate([empty, *arrays]) for arrays in zip((empty, empty), *parts, strict=True))
    return ids, n_tokens
