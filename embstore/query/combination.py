"""Search the nearest items of a sum and difference of words, as ``king + woman - man``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import NotStoredError, UnknownNameError
from embstore.base.space import Layer, same_spelling
from embstore.base.text import parse_marked
from embstore.index.product_search import search_products
from embstore.query.layer_data import StoredLayer, TransformedLayer
from embstore.query.lookup import FoundQueries, Query
from embstore.query.nearest import LayerSearch, scan
from embstore.storage.catalog import Ids

METHODS = ("3cosadd", "3cosmul")

Float64Array = NDArray[np.float64]

_CANCELLED = 1e-12  # norm of a mean of unit vectors below which nothing but rounding is left of it


class Combination(NamedTuple):
    """Words that are added and subtracted, and how the items near all of them are scored.

    Attributes:
        positive: Words that are added; one that is given twice counts twice.
        negative: Words that are subtracted.
        method: ``3cosadd``, the cosine with the mean of the signed unit vectors (Mikolov, Yih & Zweig 2013, NAACL);
            or ``3cosmul``, Π (1 + cos(x, p))/2 ÷ (Π (1 + cos(x, q))/2 + 10⁻⁶) over the positive words p and the
            negative words q (Levy & Goldberg 2014, CoNLL). Both are those of gensim's KeyedVectors.
    """

    positive: tuple[Query, ...]
    negative: tuple[Query, ...]
    method: str = METHODS[0]

    @property
    def queries(self) -> tuple[Query, ...]:
        """The distinct words."""
        return tuple(dict.fromkeys(self.positive + self.negative))

    @property
    def shown(self) -> str:
        """The words with their signs, as in ``king + woman - man``."""
        added = " + ".join(query.shown for query in self.positive)
        return " - ".join([added, *(query.shown for query in self.negative)]).strip()


def parse_combination(positive: Iterable[str], negative: Iterable[str], method: str) -> Combination:
    """Return a combination of words, of which those in brackets are occurrences (``the [bank] of the river``).

    Raises:
        UnknownNameError: There is no such method.
    """
    name = same_spelling(method, METHODS)
    if name not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    return Combination(tuple(map(_parse, positive)), tuple(map(_parse, negative)), name)


def _parse(text: str) -> Query:
    """Return the query of a text; one that is more than a word in brackets is an occurrence."""
    is_marked = text.count("[") == text.count("]") == 1 and not (text.startswith("[") and text.endswith("]"))
    return Query(text, parse_marked(text) if is_marked else None)


def with_all_words(found: Sequence[FoundQueries], combination: Combination) -> tuple[list[FoundQueries], list[str]]:
    """Return the spaces that have all words of a combination, and a note for each of the others.

    Raises:
        NotStoredError: No space has all of them.
    """
    missing = [[query.shown for query in combination.queries if query not in space.vectors] for space in found]
    incomplete = {space.card.space: words for space, words in zip(found, missing, strict=True) if words}
    if len(incomplete) == len(found):
        words = "; ".join(f"{space} lacks {', '.join(map(repr, words))}" for space, words in incomplete.items())
        raise NotStoredError(
            f"no space has all words of {combination.shown!r}: {words}. To encode them, add ⦃embed=True⦄."
        )
    complete = [space for space in found if space.card.space not in incomplete]
    return complete, [f"{space} is left out: it does not have all of the words." for space in incomplete]


@dataclass(frozen=True, kw_only=True)
class CombinationSearch(LayerSearch):
    """Parameters of a search for the items nearest to a combination of words.

    Attributes:
        combination: Words and method; None of its words is among the neighbours.
    """

    combination: Combination
    excludes_all: ClassVar[bool] = True

    @property
    def value(self) -> str:
        """Name of the column by which neighbours are ordered: a product of cosines is none itself."""
        return "cosine" if self.combination.method == "3cosadd" else "score"

    def rows(
        self, found: FoundQueries, layer: Layer, transformed: TransformedLayer | None
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Search the neighbours of the combination; return them as rows, and notes: see :meth:`LayerSearch.rows`."""
        queries, vectors, notes = self.with_direction(found, layer, transformed)
        if len(queries) < len(self.combination.queries):  # one is the zero vector, and a note says so
            return [], notes
        own_ids = np.unique(np.array([found.stored[query] for query in queries if query in found.stored], np.int64))
        k = self.k + len(own_ids)
        if self.combination.method == "3cosmul":
            ids, scores = self._products(found, layer, transformed, (queries, vectors), k)
            notes += [] if self.exact else ["3cosmul: answered by an exact scan."]
        else:
            mean = self._mean(queries, vectors)
            if mean is None:
                where = f"{found.card.space} layer {layer.name}"
                return [], [*notes, f"{where}: the vectors of {self.combination.shown!r} cancel out: no direction."]
            every = np.concatenate([mean[None], vectors])  # an index that disagrees with a word's vector is damaged
            if transformed is not None:
                (ids, *_), (scores, *_) = scan(transformed, every[:1], k)
            else:
                all_ids, all_scores, search_notes = self.search(found.card, layer, every, own_ids)
                notes += search_notes
                self._check(found, layer, queries, vectors, all_ids, all_scores)
                ids, scores = all_ids[0], all_scores[0]
        hits = [(item, score) for item, score in zip(ids.tolist(), scores.tolist(), strict=True) if item >= 0]
        others = [hit for hit in hits if hit[0] not in own_ids and self.is_candidate(hit[0])]
        rows = self.as_rows(found.card, layer, self.combination.shown, others)
        if not rows and self.only is not None:
            notes.append(f"{found.card.space} layer {layer.name}: the filter keeps no neighbour (n = 0).")
        return rows, notes

    def _signed(self, queries: Sequence[Query]) -> tuple[list[int], list[int]]:
        """Return the position in the queries of each positive word, and of each negative word."""
        at = {query: position for position, query in enumerate(queries)}
        return [at[query] for query in self.combination.positive], [at[query] for query in self.combination.negative]

    def _mean(self, queries: Sequence[Query], vectors: NDArray[np.floating]) -> Float64Array | None:
        """Return the mean of the signed unit vectors, float64 (dim,); None if it is zero up to rounding."""
        wide = vectors.astype(np.float64)
        units = wide / np.sqrt(np.vecdot(wide, wide))[:, None]
        positive, negative = self._signed(queries)
        mean: Float64Array = (units[positive].sum(axis=0) - units[negative].sum(axis=0)) / len(positive + negative)
        return mean if np.sqrt(np.vecdot(mean, mean)) > _CANCELLED else None

    def _products(
        self,
        found: FoundQueries,
        layer: Layer,
        transformed: TransformedLayer | None,
        words: tuple[list[Query], NDArray[np.floating]],
        k: int,
    ) -> tuple[Ids, Float64Array]:
        """Scan a layer for the items with the highest products of cosines; return ids and scores, each (k,)."""
        queries, vectors = words
        positive, negative = self._signed(queries)
        data = transformed or StoredLayer(self.catalog, found.card, layer, self.only)
        blocks = data.map_with_ids(lambda ids, block: (ids, block))
        return search_products(blocks, vectors, positive, negative, k)

    def _check(
        self,
        found: FoundQueries,
        layer: Layer,
        queries: Sequence[Query],
        vectors: NDArray[np.floating],
        ids: Ids,
        cosines: NDArray[np.floating],
    ) -> None:
        """Check the hits of each word by itself, which follow those of the combination: see ``check_hits``."""
        for row, query in enumerate((Query(self.combination.shown), *queries)):
            hits = [hit for hit in zip(ids[row].tolist(), cosines[row].tolist(), strict=True) if hit[0] >= 0]
            self.check_hits(found, query, layer, vectors[row - 1], hits)
