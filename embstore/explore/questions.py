"""Answer the page's questions: what the store has, neighbours, metrics and SQL, with the commands
that do the same.

Items are coloured by norm, cosine with a text, change between layers, cluster, or SQL.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.util import find_spec
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.arrays import cosines_of, has_direction, square_norms
from embstore.base.documents import Document
from embstore.base.errors import EmbstoreError, QueryError, UsageError, check_known
from embstore.base.summary import in_float64
from embstore.base.table import Table, with_text_ids
from embstore.base.text import OF_SPACE
from embstore.explore.items import MOST, SQL_LIMITS, Reading, SpaceItems, layer_names, read_items
from embstore.explore.maps import stored_maps
from embstore.explore.rendering import calls, command, python, shortened, svg
from embstore.index import unit_vectors
from embstore.metrics import all_metrics, get_metric
from embstore.query.words import SETS
from embstore.storage.card import Card, SpaceFilter
from embstore.storage.item_columns import BUILT_IN, is_space_column, joined_items
from embstore.storage.sql.connections import quote_name
from embstore.storage.views.fence import check_expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

SQL_ROWS = 1_000
_SHARED = ("spaces", "layers", "where", "sample", "seed", "transforms", "by", "bins")
_N_PAIRS = 100
_PAIRS = """\
WITH pairs AS (
  SELECT p.text, p.text_2, p.score, cosine(a.vector, b.vector) AS cosine
  FROM datasets."{dataset}" p
  JOIN embeddings a ON a.space = '{space}' AND a.layer = {layer} AND a.item_id = p.item_id
  JOIN embeddings b ON b.space = '{space}' AND b.layer = {layer} AND b.item_id = p.item_id_2
  WHERE p.unit = '{unit}'
), used AS (SELECT * FROM pairs WHERE cosine IS NOT NULL)
SELECT *, {of_cosine} - {of_score} AS residual{more} FROM used ORDER BY abs(residual) DESC, text, \
text_2 LIMIT {n}"""
_RANK = (
    "(rank() OVER (ORDER BY {0}) - 1 + (count(*) OVER (PARTITION BY {0}) - 1) / 2) /"
    " greatest(count(*) OVER () - 1, 1)"
)
"""The rank of a column scaled to [0, 1]; equal values share their mean rank."""


def neighbours(
    store: Reading,
    *,
    spaces: list[str],
    text: str = "",
    marked: str = "",
    layers: str = "top",
    k: int = 10,
    embed: bool = False,
    where: str | None = None,
    exact: bool = False,
) -> Document:
    """Return the nearest items of a text in spaces and layers, as :meth:`Store.neighbours` finds
    them.
    """
    arguments: dict[str, Any] = {"spaces": spaces, "layers": layers, "k": k}
    options = {"marked": [marked] if marked else [], "embed": embed, "where": where, "exact": exact}
    arguments |= {name: value for name, value in options.items() if value}
    texts = [text] if text else []
    nearest = store.neighbours(texts, **arguments, **asdict(SQL_LIMITS))
    return table_json(nearest) | calls("neighbours", store.path, arguments, *texts)


def metric(
    store: Reading,
    *,
    name: str,
    options: Mapping[str, Any],
    parameters: Mapping[str, Any],
    theme: str = "screen",
    width: float = 640,
) -> Document:
    """Return a metric of spaces and layers, with its picture where it can be drawn.

    Stored answers are used where they suffice; new ones are not stored, since the explorer only
    reads.
    """
    for option in options:
        if option not in _SHARED:
            raise UsageError(f"unknown option {option!r}. Known: {', '.join(_SHARED)}.")
    shared = {key: value for key, value in options.items() if value not in (None, "", [])}
    of_metric = _parameters(store, name, parameters)
    arguments = {**shared, **of_metric, **asdict(SQL_LIMITS)}
    state = store.cache_state(name, **arguments).to_dict()
    is_stored = not state["refused"] and state["n_answers"] == state["n_stored"]
    result = store.query(name, cache=is_stored, **arguments)
    written = shared | {
        key: ",".join(value) if key in SETS else value for key, value in of_metric.items()
    }
    shown = {
        "command": command(f"query {name}", store.path, written),
        "python": python("query", store.path, shared | of_metric, name),
    }
    return table_json(result) | _picture(result, theme, width) | shown


def _parameters(store: Reading, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a metric that were given; word sets as lists, never as the path of a
    file.
    """
    declared = {
        parameter["name"]: parameter for parameter in store.explain(name).to_dict()["parameters"]
    }
    parameters: dict[str, Any] = {}
    for key, value in given.items():
        check_known(f"parameter of {name}", key, declared)
        if value in (None, "", []):
            continue
        parameters[key] = _words(value) if key in SETS or declared[key]["repeatable"] else value
    return parameters


def _words(value: Any) -> list[str]:
    """Return words that were given as a list, or in a text with commas or line ends between
    them.
    """
    parts = value if isinstance(value, list) else str(value).replace("\n", ",").split(",")
    return [word for part in parts if (word := str(part).strip())]


def _picture(result: Table, theme: str, width: float) -> Document:
    """Return the picture of a result as SVG, or the reason why there is none."""
    try:
        return {"svg": svg(result, width, style=theme), "no_picture": None}
    except EmbstoreError as error:
        return {"svg": None, "no_picture": str(error)}


def sql(store: Reading, *, select: str) -> Document:
    """Return the first rows of a SELECT over the views of the store."""
    result = store.sql(select, **asdict(SQL_LIMITS))
    columns = result.columns
    rows = result.fetchmany(SQL_ROWS + 1)
    shown = [{str(i): shortened(value) for i, value in enumerate(row)} for row in rows[:SQL_ROWS]]
    return {
        "columns": columns,
        "types": result.types,
        "rows": shown,
        "is_cut": len(rows) > SQL_ROWS,
        "limit": SQL_ROWS,
        **calls("sql", store.path, {}, select),
    }


def table_json(result: Table) -> Document:
    """Return a table as JSON: columns, rows in long form, notes, and what is printed; item ids as
    strings.
    """
    shown = [column.column for column in result.shown] or list(result.columns)
    header, lines = (replace(result, pivot=None) if not result.rows else result).layout()
    return {
        "columns": list(result.columns),
        "rows": with_text_ids(result).to_pylist(),
        "notes": result.notes,
        "shown": shown,
        "printed": {"header": header, "lines": lines},
    }


def residuals(store: Reading, dataset: str, space: str, layer: str) -> Document:
    """Return the pairs with the largest difference between the rank of the cosine and the rank of
    the score.
    """
    known = [name for name, kind in store.catalog.datasets().items() if kind.endswith("pairs")]
    check_known("dataset of pairs", dataset, known)
    layers = layer_names(store, space)
    check_known("layer", layer, layers)
    card = store.catalog.cards[space]
    total = len(store.catalog.dataset(dataset, card.unit)["item_id"])
    result = store.sql(_pairs_select(dataset, card, layer, ", count(*) OVER () AS n"))
    rows = [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]
    n, select = [row.pop("n") for row in rows], _pairs_select(dataset, card, layer)
    return {"rows": rows, "n": n[0] if n else 0, "total": total} | calls(
        "sql", store.path, {}, select
    )


def _pairs_select(dataset: str, card: Card, layer: str, more: str = "") -> str:
    """Return the SELECT over the views of the store that lists the pairs, with more columns."""
    [member] = card.layers.select(layer)
    return _PAIRS.format(
        dataset=dataset.replace('"', '""'),
        space=card.space.replace("'", "''"),
        layer=member.id,
        unit=card.unit.value,
        of_cosine=_RANK.format("cosine"),
        of_score=_RANK.format("score"),
        n=_N_PAIRS,
        more=more,
    )


_SKIPPED_SHOWN = 200


def overview(store: Reading) -> Document:
    """Return what the page must know first: spaces with their layers, datasets, metrics and notes.

    The store is read anew, so that what was written since is seen.
    """
    store.refresh()
    catalog, info, metrics = store.catalog, store.info(), store.metrics()
    cards, names = catalog.cards, catalog.columns.names
    columns = sorted(name for name in names if not is_space_column(name))
    stored = {name.partition(".")[0] for name in names}
    columns += [name for name in OF_SPACE if name in stored]  # of one name in all spaces
    samples = {space: MOST if store.catalog.count(space) > MOST else None for space in cards}
    distances = [
        column
        for metric in all_metrics()[0].values()
        for column in metric.columns
        if column.name in metric.chart.distances
    ]
    return {
        "path": str(store.path),
        "name": store.path.resolve().name or str(store.path),
        "fingerprint": _hash(info),
        "spaces": [
            dict(row) | {"layer_names": list(card.layers.names), "created": card.created}
            for row in info
            if (card := cards.get(row["space"])) is not None
        ],
        "datasets": catalog.datasets(),
        "columns": columns,
        "built_in": list(BUILT_IN),
        "most_items": MOST,
        "map_commands": {  # which keep more neighbours than principal components do
            space: command(
                "map", store.path, {"method": "tsne", "spaces": [space], "sample": sample}
            )
            for space, sample in samples.items()
        },
        "maps": {space: list(named) for space, named in stored_maps(store).items()},
        "metrics": [{name: row[name] for name in ("name", "help", "needs")} for row in metrics],
        "distances": {column.name: column.maximum for column in distances},
        "notes": [*info.notes, *metrics.notes],
        "can_plot": find_spec("matplotlib") is not None,
    }


def _hash(info: Table) -> str:
    """Return a hash of the rows of ``Store.info``, which differs when a store has changed."""
    return hashlib.sha256(json.dumps(info.to_pylist(), default=str).encode()).hexdigest()[:16]


def metric_form(store: Reading, name: str) -> Document:
    """Return the declaration of a metric in the words of the page: formula, estimator, columns,
    parameters.
    """
    declared: Document = store.explain(name).to_dict()
    for parameter in declared["parameters"]:
        if parameter["repeatable"] and "commas" not in parameter["help"]:
            parameter["help"] += " Several: with commas."
    return declared


def inventory(store: Reading) -> Document:
    """Return the content of the tab Store: spaces with everything their cards say, and the skipped
    texts.
    """
    cards = {
        space: json.loads(json.dumps(card.to_dict(), default=str))
        for space, card in store.catalog.cards.items()
    }
    skipped = store.skipped()
    return {
        "cards": cards,
        "skipped": [dict(row) for row in skipped.rows[:_SKIPPED_SHOWN]],
        "skipped_columns": list(skipped.columns),
        "n_skipped": len(skipped),
        **calls("info", store.path, {}),
    }


def current_fingerprint(store: Reading) -> dict[str, str]:
    """Return a hash of the state of the store as it is now, without a change of what ``store`` has
    read.
    """
    opened: Callable[..., Reading] = type(store)
    return {"fingerprint": _hash(opened(store.path).info())}


KINDS = ("norm", "cosine", "axis", "change", "cluster", "length", "sentence", "column", "where")
_CLUSTERS = 8
_NAMED_BY = 3


def colours(
    store: Reading,
    space: str,
    kind: str,
    layer: str = "top",
    text: str | None = None,
    column: str | None = None,
    positive: str = "",
    negative: str = "",
) -> Document:
    """Return a value of each item of a space; for an axis, between the words ``positive`` and
    ``negative``.

    Returns:
        ``ids``, int64 little-endian in base64, since a map may have fewer items; ``label``;
        ``values`` (n), None where an item has none; and for categories ``categories``, of which the
        values are positions.
    """
    check_known("colour", kind, KINDS)
    items = read_items(store, space)
    if kind == "length":
        coloured = _numbers("characters", [len(text) for text in items.texts])
    elif kind == "sentence":
        sentences = [items.contexts[place] for place in items.context_of]
        coloured = _categories("sentence", sentences or items.texts)
    elif kind == "column":
        coloured = _column(items, column or "")
    elif kind == "where":
        chosen = np.isin(items.ids, store.catalog.select(column or "", SQL_LIMITS, space=space))
        coloured = _categories(column or "", [*map(str, chosen.tolist())])
    elif kind == "norm":
        norms = np.sqrt(square_norms(items.vectors(layer)))
        coloured = _numbers(f"norm, layer {layer}", norms)
    elif kind == "cluster":
        coloured = _clusters(items, layer)
    elif kind == "cosine":
        coloured = _cosines(items, layer, text)
    elif kind == "change":
        coloured = _change(items, layer)
    else:
        coloured = _axis(items, layer, _words(positive), _words(negative))
    ids = base64.b64encode(items.ids.astype("<i8").tobytes()).decode()
    return {"ids": ids, **coloured}


def _clusters(items: SpaceItems, layer: str) -> Document:
    from embstore.metrics.numerics.neighbours import spherical_clusters

    vectors = items.vectors(layer)
    units, rows = unit_vectors(vectors), np.flatnonzero(has_direction(vectors))
    numbers = np.full(len(units), -1)
    numbers[rows] = spherical_clusters(units[rows], _CLUSTERS)
    names: list[str | None] = [
        f"{number + 1}: {_central(units, items, numbers == number)}"
        for number in range(numbers.max() + 1)
    ]
    named = [*names, None]  # -1 is in no cluster
    return _categories(f"cluster, layer {layer}", [named[number] for number in numbers])


def _central(units: "NDArray[np.float32]", items: SpaceItems, members: "NDArray[np.bool_]") -> str:
    """Return the texts of the members of a cluster that are nearest to its mean direction."""
    places = np.flatnonzero(members)
    order = places[
        np.argsort(-(units[places] @ units[places].sum(axis=0)), kind="stable")[: 10 * _NAMED_BY]
    ]
    return ", ".join(list(dict.fromkeys(items.texts[place] for place in order))[:_NAMED_BY])


def _cosines(items: SpaceItems, layer: str, text: str | None) -> Document:
    ids = [*map(str, items.ids.tolist())]
    if text not in ids:
        raise UsageError("colour by cosine needs a text of this space: search one first.")
    place = ids.index(text)
    vectors = items.vectors(layer)
    cosines, rows = np.full(len(vectors), np.nan), has_direction(vectors)
    if rows[place]:
        cosines[rows] = cosines_of(vectors[rows], vectors[place])
    return _numbers(f"cosine with {items.texts[place]}, layer {layer}", cosines)


def _axis(items: SpaceItems, layer: str, positive: list[str], negative: list[str]) -> Document:
    """Return the cosine of each item with the axis between two poles of words, as the metric
    ``axis`` does.
    """
    from embstore.metrics.axis import cosines_with, find_axis
    from embstore.query.inputs import word_sets
    from embstore.query.layer_data import StoredLayer
    from embstore.query.request import ALL_ITEMS, MetricRequest

    card, catalog = items.card, items.store.catalog
    parameters = {"positive": positive, "negative": negative, "missing": "error"}
    request = MetricRequest(get_metric("axis"), parameters, ALL_ITEMS, SpaceFilter(), layer)
    [case] = word_sets(catalog, request, card)
    [member] = card.layers.select(layer)
    data = StoredLayer(catalog, card, member)
    ids, scores = cosines_with(data, find_axis(data, **case.inputs)[0])
    poles = " − ".join(", ".join(words) for words in (positive, negative))
    return _numbers(f"axis {poles}, layer {layer}", scores[np.searchsorted(ids, items.ids)])


def _change(items: SpaceItems, layer: str) -> Document:
    names = items.card.layers.names
    place = names.index(layer) if layer in names else len(names) - 1
    if place == 0:
        raise UsageError(
            "colour by change compares a layer with the one below: choose a layer above the first."
        )
    below, above = map(items.vectors, names[place - 1 : place + 1])
    dots = np.concatenate(
        [np.vecdot(*rows) for rows in zip(in_float64(below), in_float64(above), strict=True)]
    )
    norms = np.sqrt(square_norms(below) * square_norms(above))
    # NaN where one is zero.
    cosines = np.divide(dots, norms, out=np.full(len(dots), np.nan), where=norms > 0)
    return _numbers(
        f"1 − cosine of layers {names[place - 1]} and {names[place]}", 1 - cosines.clip(-1, 1)
    )


def _column(items: SpaceItems, column: str) -> Document:
    if not column.strip():
        raise UsageError("give an SQL expression over the item columns, as in: length(text)")
    check_expression(column)  # else an error would be about the statement that it is part of
    store, card = items.store, items.card
    stored = [*store.catalog.columns.types]
    names = [*stored, *OF_SPACE]
    source, _ = joined_items(column, stored, card.space)
    select = f"SELECT item_id, (\n{column}\n) AS value FROM {source} WHERE unit = '{card.unit}'"
    values = dict(store.sql(select, **asdict(SQL_LIMITS)).fetchall())
    if not values:
        raise QueryError(f"{column} has no value for any item.")
    label = next((name for name in names if column.strip() in (name, quote_name(name))), column)
    of_items = [values.get(item) for item in items.ids.tolist()]
    if not any(isinstance(value, str | bool) for value in of_items):
        with suppress(TypeError, ValueError):  # dates, lists and the like are categories
            return _numbers(label, [None if value is None else float(value) for value in of_items])
    # Ordered by all items of the unit, so that panels of several spaces have the same colours.
    return _categories(
        label,
        [None if value is None else str(value) for value in of_items],
        [str(value) for value in values.values() if value is not None],
    )


def _numbers(label: str, values: "NDArray[np.float64] | Sequence[float | None]") -> Document:
    return {
        "label": label,
        "values": [None if value is None or not isfinite(value) else value for value in values],
    }


def _categories(
    label: str, values: Sequence[str | None], counted: Sequence[str] | None = None
) -> Document:
    """Return categories, the most frequent first; equal counts in alphabetical order."""
    counted = [value for value in values if value is not None] if counted is None else counted
    counts = Counter(counted)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    rank = {name: place for place, name in enumerate(order)}
    places = [None if value is None else rank[value] for value in values]
    return {"label": label, "values": places, "categories": [name[:200] for name in order]}
