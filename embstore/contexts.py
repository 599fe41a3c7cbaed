"""The occurrences of each word, and those of each sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from embstore.case import Case
from embstore.errors import NotStoredError
from embstore.metrics import Metric
from embstore.metrics.data import Contexts
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.contexts import GroupBy, group_occurrences


def contexts(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the case of a space of occurrences.

    Args:
        metric: which groups by sentence if it has the parameter ``per_sentence``, and else by word.
        catalog: the store.
        card: of the space.
        values: of the metric's parameters, of which these are used, if the metric has them: ``word``, the words that
            are wanted, and ``fold_case``, whether case makes no difference.

    Raises:
        NotStoredError: a word that is wanted has no occurrence in the space.
        DamagedError: a table of texts was altered or is lost.
    """
    by: GroupBy = "folded word" if values.get("fold_case") else "word"
    if "per_sentence" in values:
        by = "sentence"
    words = values.get("word", ())
    found = Contexts(*group_occurrences(catalog, card.space, by, words))
    lacking = np.flatnonzero(np.bincount(found.groups, minlength=len(found.names)) == 0)
    if len(lacking):
        raise _not_stored(catalog, card.space, found.names[lacking[0]], folded=by == "folded word")
    return [Case({"contexts": found})]


def _not_stored(catalog: Catalog, space: str, word: str, *, folded: bool) -> NotStoredError:
    near = catalog.nearest_texts(word, [space])
    nearest = f" Nearest stored words: {', '.join(map(repr, near))}." if near else ""
    case = "" if folded else " To take words that differ only in case for one: --fold-case."
    return NotStoredError(
        f"{word!r} has no occurrence in {space}.{nearest}{case} To add it, build a source that has it in its "
        "sentences: embstore build SOURCE --unit occurrence"
    )
