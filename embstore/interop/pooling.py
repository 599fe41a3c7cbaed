"""Pool a space of words in sentences, or of tokens, into one of words or of sentences.

The vector of a word is made from those of all its occurrences, that of a text from those of its
tokens. Such a space is written as imported vectors are, but in one commit, in place of what it was
before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from embstore.base import __version__
from embstore.base.arrays import Float64Array, Ids, slices
from embstore.base.errors import QueryError, UsageError, check_known
from embstore.base.messages import Report
from embstore.base.space import Unit, check_space_name
from embstore.base.table import show_size
from embstore.base.text import N_POOLED, item_id
from embstore.interop.importing import ImportOptions, Replacement, write_space
from embstore.interop.vector_file import Block, VectorFile, rows_per_block
from embstore.maintain.removal import without
from embstore.metrics.data import Contexts
from embstore.metrics.numerics.groups import Groups, each_group, select_groups
from embstore.metrics.numerics.linear_algebra import Moments, eigenvectors_of
from embstore.query.layer_data import StoredLayer
from embstore.storage import keys
from embstore.storage.arrow import from_numpy
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.item_columns import space_column
from embstore.storage.item_lookup import GroupBy, group_occurrences
from embstore.storage.manifest import Files, Manifest
from embstore.storage.tables import column_schema, write_all

_BY: Mapping[str, tuple[GroupBy, Unit]] = {
    "word": ("word", Unit.WORD),
    "context": ("sentence", Unit.SENTENCE),
}
"""How items are grouped, and the unit of what they become, by the value of ``by``."""


def mean(x: Float64Array | Moments) -> Float64Array:
    """Return the mean (dim,) of vectors (n, dim), n ≥ 1."""
    return x.mean if isinstance(x, Moments) else x.mean(axis=0)


def first_component(x: Float64Array | Moments) -> Float64Array:
    """Return the first principal component (dim,) of vectors x (n, dim), n ≥ 1, that are not
    centred: the unit vector v with the greatest Σ(x·v)².

    Its sign is that of the mean: v·x̄ > 0. Zeros if all vectors are zero. As the static embeddings
    of Ethayarajh (2019), section 5, whose code takes scikit-learn's ``TruncatedSVD``.
    """
    if not isinstance(x, Moments) and len(x) > x.shape[1]:
        x = Moments.of(x)
    if isinstance(x, Moments):
        component = eigenvectors_of(x.uncentred)[1][:, -1] * bool(x.square_total)
    else:
        component = x.T @ eigenvectors_of(x @ x.T)[1][:, -1]
        component /= np.linalg.norm(component) or 1.0
    return -component if component @ mean(x) < 0 else component


Pool = Callable[[Float64Array | Moments], Float64Array]

POOLED_AS: Mapping[str, Pool] = {"mean": mean, "first-pc": first_component}


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Options of pooling; ``Store.pool`` says what they are."""

    space: str
    name: str
    by: str = "word"
    minimum: int = 1
    how: str = "mean"
    index: str = "auto"

    def __post_init__(self) -> None:
        check_space_name(self.name)
        check_known("value of `by`", self.by, _BY)
        check_known("way to pool", self.how, POOLED_AS)
        if self.minimum < 1:
            raise UsageError(f"`min` must be at least 1, not {self.minimum}.")


@dataclass(frozen=True, slots=True, repr=False)
class PoolReport(Report):
    """The result of pooling.

    Attributes:
        store: Folder or URL of the store.
        space: Name of the pooled space.
        source: Name of the space that it was pooled from.
        n: Number of its items.
        n_vectors: Number of vectors that they were made from.
        n_left_out: Number of words or texts that are left out, since they have fewer vectors than
            asked for.
        n_bytes: Bytes of the shards and indexes written; 0 if the space was there as it would be.
    """

    store: Path | str
    space: str
    source: str
    n: int
    n_vectors: int
    n_left_out: int
    n_bytes: int = 0
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        left_out = f"; {self.n_left_out:,} have too few and are left out" * bool(self.n_left_out)
        done = f"{show_size(self.n_bytes)} written to {self.store}"
        if not self.n_bytes:
            done = f"it was there, and {self.source} has not changed since: nothing was written"
        return [
            f"{self.space}: {self.n:,} items from {self.n_vectors:,} vectors of"
            f" {self.source}{left_out}",
            done,
        ]


def pool(files: StoreFiles, options: PoolOptions) -> PoolReport:
    """Pool the vectors of a space into those of another one, and index them.

    A space of this name that was pooled in the same way is replaced if its source has changed.
    """
    catalog = Catalog(files)
    parent = _parent(catalog, options)
    contexts = Contexts(*group_occurrences(catalog, parent.space, _BY[options.by][0]))
    n = np.bincount(contexts.groups, minlength=len(contexts.names))
    groups = _chosen(contexts.names, n, options)
    settings = {"by": options.by, "as": options.how, "min": options.minimum}
    card = replace(
        parent,
        space=options.name,
        unit=_BY[options.by][1],
        word_boundaries=None,
        versions={"embstore": __version__, "numpy": np.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        pooled={"space": parent.space, **settings, "sha256": catalog.state(parent.space)},
    )
    counts = (len(groups), int(n[groups].sum()), len(n) - len(groups))
    report = PoolReport(files.place, card.space, parent.space, *counts)
    if _is_there(catalog, card):
        return report
    named = catalog.manifest
    for file in files.files_of(named, named.keys_of_space(parent.space)):
        file.check()  # or altered vectors would be pooled into a sound file
    texts = [contexts.names[group] for group in groups.tolist()]

    def blocks() -> Iterator[Block]:
        for part in slices(len(groups), rows_per_block(len(parent.layers), parent.dim)):
            vectors = [
                _pooled(StoredLayer(catalog, parent, layer), chosen, groups[part], n, options.how)
                for chosen in [select_groups(contexts, groups[part])]
                for layer in parent.layers
            ]
            yield Block(texts[part], np.stack(vectors), part.start + 1)

    source = VectorFile(
        parent.space, "pooled", len(parent.layers), parent.dim, "float32", blocks, n=len(groups)
    )
    replacement = Replacement(
        lambda base: without(files, base, [card.space]), _counts(files, card, texts, n[groups])
    )
    chosen = ImportOptions(card.space, card.unit, index=options.index)
    written = write_space(files, [source], card, chosen, replacement)
    return replace(report, n_bytes=written.n_bytes, notes=written.notes)


def _parent(catalog: Catalog, options: PoolOptions) -> Card:
    """Return the card of the space to pool; raise an error unless its items are in contexts."""
    check_known("space", str(options.space), catalog.cards)
    parent = catalog.cards[options.space]
    if parent.unit in (Unit.WORD, Unit.SENTENCE):
        raise QueryError(
            f"{parent.space} is of {parent.unit.value}s, each by itself, and what is pooled are"
            " words in their sentences, or tokens of texts. Make such a space with: embstore build"
            " SOURCE --unit occurrence"
        )
    return parent


def _chosen(names: Sequence[str], n: Groups, options: PoolOptions) -> Groups:
    """Return the numbers of the groups that are pooled, ascending, given the size of each: those
    with enough vectors, and with a text.
    """
    has_text = np.array([not (name == "" or name.isspace()) for name in names], np.bool_)
    groups = np.flatnonzero((n >= options.minimum) & has_text)
    if len(groups):
        return groups
    raise QueryError(
        f"no {options.by} of {options.space} has {options.minimum:,} vectors or more (`min`): the"
        f" most are {n.max(initial=0):,}."
    )


def _is_there(catalog: Catalog, card: Card) -> bool:
    """Return whether a space is stored as it would be pooled now.

    Raises:
        SpaceMismatchError: A space of this name was not pooled, or in another way.
    """
    if catalog.is_empty(card.space):
        return False
    stored = catalog.cards[card.space]
    hashes = [(pooled.pooled or {}).get("sha256") for pooled in (stored, card)]
    if replace(stored, pooled={**(stored.pooled or {}), "sha256": hashes[1]}).pooled != card.pooled:
        stored.check_same_space(card)
    return hashes[0] == hashes[1]


def _pooled(
    data: StoredLayer, contexts: Contexts, groups: Groups, n: Groups, how: str
) -> Float64Array:
    """Return the pooled vectors (g, dim) of some groups in a layer, given the size of every one."""
    pooled = np.empty((len(groups), data.dim))
    for group, x in each_group(data, contexts, groups, n):
        pooled[np.searchsorted(groups, group)] = POOLED_AS[how](x)
    return pooled


def _counts(
    files: StoreFiles, card: Card, texts: Sequence[str], n: Groups
) -> Callable[[Manifest, Ids], Files]:
    """Return a function that writes the sizes of the groups of some items as a column."""
    sizes = {item_id(card.unit, text): size for text, size in zip(texts, n.tolist(), strict=True)}
    schema = column_schema({space_column(N_POOLED, card.space): "int64"})

    def write(_: Manifest, ids: Ids) -> Files:
        values = np.array([sizes[item] for item in ids.tolist()], np.int64)
        table = pa.table([from_numpy(ids), from_numpy(values)], schema=schema)
        return write_all(files, keys.COLUMNS, [table])

    return write
