"""What is wrong with a store beyond the hashes of its files: ids, layers, sums and indexes are each
computed from the texts and vectors.
"""

import numpy as np
import pyarrow.parquet as pq

from embstore.base.space import Unit
from embstore.base.summary import Summary
from embstore.base.text import Span, item_id
from embstore.index import open_index
from embstore.storage import keys
from embstore.storage.catalog import Catalog


def problems_of(store):
    """Return the problems that verify finds; if there are none, contradictions in the content."""
    found = [*store.verify().problems]
    return found or [*_contradictions(store)]


def _contradictions(store):
    catalog = Catalog(store._files)
    ids, texts = set(), {}
    rows = [row for file in catalog.item_files for row in _table(file).to_pylist()]
    texts |= {row["item_id"]: row["text"] for row in rows}
    for row in rows:
        if row["item_id"] in ids:
            yield f"{row} is there twice"
        ids.add(row["item_id"])
        values = [row[name] for name in ("item_id", "unit", "text", "context_id", "start", "end")]
        values[3] = texts.get(row["context_id"])
        if not has_its_id(tuple(values)):
            yield f"the id of {row} is not that of its text"
    for space, card in catalog.cards.items():
        sums = catalog.summaries(space)
        for layer in card.layers.ids:
            yield from _layer_contradictions(catalog, space, layer, ids, sums[layer])


def _layer_contradictions(catalog, space, layer, known, stored):
    """Compare a layer with the first one, with the known items, with its sums and its index."""
    named, place = catalog.manifest, f"layer {layer} of {space}"
    tables = [_table(file) for file in _files(catalog, keys.VECTORS, space, layer)]
    ids = np.concatenate(
        [np.zeros(0, np.int64), *(table["item_id"].to_numpy() for table in tables)]
    )
    if len({*ids.tolist()}) < len(ids) or not {*ids.tolist()} <= known:
        yield f"{place} has an item twice, or one without a text"
    if not np.array_equal(np.sort(ids), catalog.ids(space)):
        yield f"{place} has other items than the first layer"
    rows = [row for table in tables for row in table["vector"].to_pylist()]
    vectors = np.array(rows, np.float64).reshape(len(ids), catalog.cards[space].dim)
    norms = np.linalg.norm(vectors, axis=1)
    if not are_close(stored, Summary.of(vectors)):
        yield f"the sums of {place} are not those of its vectors"
    for key in named.keys_with(named.items_of(space, layer), keys.INDEXES, space, layer):
        found = np.sort(open_index(catalog.files.file(key, named.files[key])).ids)
        if {*found.tolist()} != {*ids[norms > 0].tolist()}:
            yield f"the index of {place} has other items"


def has_its_id(row):
    """Return whether the id of an item is the hash of its unit, text, sentence, start and end."""
    item, unit, text, context, start, end = row
    span = None if start is None else Span(start, end)
    # Equal tokens of the same characters are counted: those of one character are at most a few.
    n_repeats = 128 if unit == "token" else 1
    ids = (item_id(Unit(unit), text, context, span, repeat) for repeat in range(n_repeats))
    return (context is None) == (span is None) and item in ids


def _files(catalog, kind, space, layer):
    return catalog.files.files_of(catalog.manifest, catalog.manifest.keys_of(kind, space, layer))


def _table(file):
    return pq.ParquetFile(file.path).read()


def are_close(one, other):
    """Return whether two summaries are equal up to rounding."""
    if (one.n, one.n_zero) != (other.n, other.n_zero):
        return False
    scale = max(1.0, abs(one.norm_total))
    scales = {
        "total": scale,
        "unit_total": max(1, one.n),
        "unit_square_total": max(1, one.n),
        "norm_total": scale,
        "norm_square_total": max(1.0, abs(one.norm_square_total)),
        "norm_min": scale,
        "norm_max": scale,
    }
    return all(
        np.allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-9 * size)
        for name, size in scales.items()
    )
