"""Measure the drift of items: find the layers, look up the words, compare neighbourhoods,
tabulate.
"""

from collections.abc import Sequence
from typing import Any

from embstore.base.chart import DRIFT
from embstore.base.errors import StoreError, check_known
from embstore.base.table import Pivot, ShownColumn, Table, table
from embstore.drift.measure import DriftRequest, Sides, find_sides, measure
from embstore.query import provenance
from embstore.query.cache import question_about, vectors_key
from embstore.query.lookup import look_up, missing_query_notes
from embstore.query.missing import quoted_list
from embstore.query.request import missing_words
from embstore.storage.answers import Answer, read_answer, trim_answers, write_answer
from embstore.storage.card import SpaceFilter, select_layers
from embstore.storage.catalog import Catalog
from embstore.storage.sql.connections import changing_part

Row = dict[str, Any]

COLUMNS = (
    "space", "model", *provenance.REVISION_COLUMNS, "layer", "layer_name", "space_2", "revision_2",
    "step_2", "layer_2",
    "layer_name_2", "change", "rank", "item_id", "text", "context", "n", "k", "overlap",
    "turnover", "mean_overlap",
    "mean_turnover", "lost", "gained", "reason",
)  # fmt: skip
_TYPES = {
    **provenance.REVISION_TYPES,
    "change": "string", "rank": "integer", "context": "string", "overlap": "number",
    "turnover": "number",
    "mean_overlap": "number", "mean_turnover": "number", "lost": "array of strings",
    "gained": "array of strings",
    "reason": "string",
}  # fmt: skip
_VERSION = 3  # of stored answers: incremented when other values are measured


def drift(
    catalog: Catalog, request: DriftRequest, spaces: SpaceFilter, layers: str, *, cache: bool = True
) -> Table:
    """Measure the drift of items between layers; return one row per space, item and pair of layers.

    Arguments and errors are those of :meth:`embstore.Store.drift`.
    """
    cards = spaces.select(catalog.cards)
    check_known("space", request.against, catalog.cards)
    others = [] if request.against is None else [catalog.cards[request.against]]
    cards = [card for card in cards if card.space != request.against] or cards
    chosen, missing = select_layers([*cards, *others], layers)
    cards = [card for card in cards if card.space in chosen]
    found = [
        look_up(catalog, card, request.queries, card.layers.members[:1], None) for card in cards
    ]
    notes = list(missing)
    for query in request.queries:
        notes += missing_query_notes(catalog, query, found, can_embed=False)
    rows: list[Row] = []
    for card, items in ((each.card, [*each.stored.values()]) for each in found):
        if request.queries and not items:
            continue
        compared = (card, *others)
        sides = find_sides(
            catalog, request, compared, [chosen.get(each.space, ()) for each in compared]
        )
        measured = (
            _stored_or_measured(sides, request, items) if cache else measure(sides, request, items)
        )
        word_columns, word_notes = missing_words(catalog, request.selection.words, *compared)
        notes += word_notes
        notes += measured.notes
        rows += [row | word_columns for row in _rows_of(sides, request, measured)]
    return _tabulate(rows, request, notes)


def _stored_or_measured(sides: Sides, request: DriftRequest, words: Sequence[int]) -> Answer:
    """Return the stored drift of the same items; else measure it, and store it where the store can
    be written.
    """
    selection, root = request.selection, sides.catalog.root
    if selection.where is not None and changing_part(selection.where) is not None:
        return measure(sides, request, words)  # the condition may select other items another time
    question = _question(sides, request, words)
    if (answer := read_answer(root, question)) is not None:
        return answer
    measured = measure(sides, request, words)
    try:
        write_answer(root, question, measured)
        trim_answers(root)
    except (StoreError, OSError):
        pass  # a read-only store or a full disk: the next request measures it again
    return measured


def _question(sides: Sides, request: DriftRequest, words: Sequence[int]) -> dict[str, Any]:
    """Return all that the answer depends on, in the form of the questions for metrics."""
    selection, catalog = request.selection, sides.catalog
    compared = zip(sides.cards, sides.layers, strict=True)
    return question_about(
        catalog,
        selection,
        None if selection.sample is None else selection.seed,
        {} if selection.words is None else {"selected words": selection.words.sha256},
        {"name": "drift", "version": [_VERSION, _VERSION], "package": None},
        {"k": request.k, "most": request.n_most, "items": list(words), "pairs": request.pairs},
    ) | {"of": [part for card, layers in compared for part in vectors_key(catalog, card, layers)]}


def _rows_of(sides: Sides, request: DriftRequest, measured: Answer) -> list[Row]:
    """Return the rows of the drift of items, with the names of the layers and the texts of the
    items.
    """
    wanted = {
        item for row in measured.rows for item in (row["item_id"], *row["lost"], *row["gained"])
    }
    items = sides.catalog.items(wanted) if wanted else {}
    rows = []
    shared = ("space", "model", *provenance.REVISION_COLUMNS, "layer", "layer_name")
    for row in measured.rows:
        (side, layer), (side_2, layer_2) = sides.pairs[row["pair"]]
        item = items[row["item_id"]]
        names = provenance.describe(sides.cards[side], layer)
        rows.append(
            row
            | {name: names[name] for name in shared}
            | {
                "revision_2": sides.cards[side_2].revision_name,
                "step_2": sides.cards[side_2].step,
                "space_2": sides.cards[side_2].space,
                "layer_2": layer_2.id,
                "layer_name_2": layer_2.name,
                "text": item.text,
                "context": None if item.context is None else item.shown,
                "k": request.k,
                "lost": [items[each].shown for each in row["lost"]],
                "gained": [items[each].shown for each in row["gained"]],
            }
        )
    return rows


def _tabulate(rows: Sequence[Row], request: DriftRequest, notes: Sequence[str]) -> Table:
    """Return the rows as a table: of words printed pair by pair, of the most and least changed with
    their means.
    """
    columns = request.selection.columns() | (
        {} if request.selection.words is None else {"words_missing": None}
    )
    all_notes = [*notes, *_counts(rows, request, notes), *_reasons(rows)]
    space = ("space",) if len({row["space"] for row in rows}) > 1 else ()
    name = _name_column(rows)
    down = (*space, "change", "rank", name)
    across = (*space, "layer_name", "layer_name_2", "overlap", "turnover", "lost", "gained")
    heads = {"layer_name": "layer", "layer_name_2": "layer_2"}
    means = Pivot(down, (), ("mean_overlap", "mean_turnover"), heads=(*down[:-1], "item"))
    return table(
        [columns | row for row in rows],
        columns=[*provenance.columns_with_values(COLUMNS, rows), *columns],
        notes=all_notes,
        types=_TYPES,
        pivot=means if request.n_most else None,
        shown=(
            ShownColumn(name, "item"),
            *(ShownColumn(column, heads.get(column, "")) for column in across),
        ),
        chart=DRIFT if request.pairs == "adjacent" else None,
    )


def _name_column(rows: Sequence[Row]) -> str:
    return "context" if any(row["context"] for row in rows) else "text"


def _counts(rows: Sequence[Row], request: DriftRequest, notes: Sequence[str]) -> list[str]:
    drawn = (
        ""
        if request.selection.sample is None
        else f", a random sample (seed {request.selection.seed})"
    )
    whole = provenance.whole_samples(request.selection, {row["space"] for row in rows}, notes)
    found = dict.fromkeys((row["space"], row["space_2"], row["n"]) for row in rows)
    counts = [
        f"{space if space == other else f'{space} and {other}'}: n ="
        f" {n}{'' if space in whole else drawn}; lists of {request.k} drawn at random overlap by"
        f" {request.k / (n - 1):.2g}"
        for space, other, n in found
    ]
    if request.n_most and rows:
        counts.append(
            "ordered by the mean overlap over the pairs of layers, items that are equal by their"
            " mean turnover, then by their id"
        )
    return counts


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Return a note on each pair of layers in which items have no value, naming the first of
    them.
    """
    without: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row["reason"]:
            pair = (
                row["space"],
                row["layer_name"],
                row["space_2"],
                row["layer_name_2"],
                row["reason"],
            )
            without.setdefault(pair, []).append(row[_name_column([row])])
    return [
        f"{space} layer {layer} and {space_2} layer {layer_2}, {quoted_list(items)}: {reason}."
        for (space, layer, space_2, layer_2, reason), items in without.items()
    ]
