"""Pack a map into the bytes that the page draws: a JSON header, item ids, and positions as 16-bit integers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.explore.jsons import to_json
from embstore.explore.maps import SpaceMap

_LARGEST = 65_535


def pack(found: SpaceMap, more: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a map, little-endian.

    The length of the header (uint32), the header (JSON in UTF-8, padded with spaces to a multiple of 8 bytes with the
    length), item ids (int64, n), positions (uint16, layers × n × 2) between the header's ``low`` and ``high``.

    Args:
        found: Map to pack.
        more: Further members of the header.
    """
    items, positions = found.items, found.positions
    low, high = _limits(positions)
    span = np.where(high > low, high - low, 1)
    places = np.round((positions - low) / span * _LARGEST).astype("<u2")
    header = {
        "space": found.space, "method": found.method, "layers": found.layers, "kept": found.kept,
        "n": len(items.ids), "n_stored": items.n_stored, "where": items.where,
        "low": low.tolist(), "high": (low + span).tolist(), "texts": items.texts, "contexts": items.contexts,
        "context_of": items.context_of.tolist(), "spans": items.spans.tolist(), **(more or {}),
    }  # fmt: skip
    text = to_json(header)
    text += b" " * (-(len(text) + 4) % 8)
    body: bytes = items.ids.astype("<i8").tobytes() + places.tobytes()
    return len(text).to_bytes(4, "little") + text + body


def _limits(positions: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    if not positions.size:
        return np.zeros(2), np.ones(2)
    flat = positions.reshape(-1, 2).astype(np.float64)
    return flat.min(axis=0), flat.max(axis=0)
