"""Windows of items, as a build reads them from its staged texts."""

import numpy as np
import pyarrow as pa

from embstore.storage.staging.staging import Window


def window_of(items, number=0):
    """A window of items of one unit, all of them missing in one space, for a shard."""
    columns = {
        "item_id": [item.id for item in items],
        "text": [item.text for item in items],
        "context_id": [item.context_id for item in items],
        "start": [item.span and item.span.start for item in items],
        "end": [item.span and item.span.end for item in items],
    }
    contexts = {item.context_id: item.context for item in items if item.context is not None}
    table = pa.table({**columns, "missing_0": pa.array(np.ones(len(items), np.uint8))})
    return Window(items[0].unit, table, contexts, number)
