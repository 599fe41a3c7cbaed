"""Give each model its own colour and mark.

The place of a model in the palette is a hash of its name, so that it does not depend on what else is drawn or stored.
Where several shown spaces have the same place, the first in alphabetical order keeps it, and the others take the next
free ones.
"""

import zlib
from collections.abc import Sequence
from itertools import count

from embstore.base.labels import model_of

N_PLACES = 7  # colours of a palette
_SALT = b"8599"  # gives MiniLM, the same untrained, GPT-2, CLIP, BERT, RoBERTa and Pythia different places


def palette_places(spaces: Sequence[str], n: int) -> dict[str, int]:
    """Return space → its place in a palette of n colours; places from n on have the colour of place − n."""
    wanted = {space: zlib.crc32(_SALT + model_of(space).encode()) % n for space in sorted(spaces)}
    owners: dict[int, str] = {}
    for space, place in wanted.items():
        owners.setdefault(place, space)
    for space, place in wanted.items():
        if owners[place] != space:
            free = next(at for turn in count() for step in range(n)
                        if (at := n * turn + (place + step) % n) not in owners)  # fmt: skip
            owners[free] = space
    return {space: place for place, space in owners.items()}
