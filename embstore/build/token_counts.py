"""Count the tokens of the items of a build: ``--keep n_tokens``. No model is loaded."""

import numpy as np

from embstore.build.job import Job, item_passages
from embstore.storage.files.paths import StorePaths
from embstore.storage.staging.columns import StoredColumn
from embstore.storage.staging.token_counts import write_token_counts


def count_tokens(job: Job, paths: StorePaths) -> list[StoredColumn]:
    """Store the number of tokens of each item of a job, for each of its spaces.

    The tokens are those of the item itself, without special tokens and the template: the ones that ``mean`` pools.
    Items without tokens, and those beyond the context, have no number.
    """
    tokenizer = job.model.tokenizer
    ids, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for items in job.missing.staging.batches():
        passages = item_passages(items, tokenizer, job.options)
        for texts, _ in tokenizer.windows(passages, poolings=(), long="truncate"):
            for text in texts:
                ids.append(np.array(text.item_ids, np.int64))
                counts.append(np.array([len(positions) for positions in text.tokens], np.int64))
    found, n_tokens = np.concatenate(ids), np.concatenate(counts)
    order = np.argsort(found)
    return [write_token_counts(paths, space.card.space, found[order], n_tokens[order]) for space in job.spaces]
