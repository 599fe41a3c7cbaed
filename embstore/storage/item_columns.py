"""Read the columns of a space's items: those that builds stored with ``--keep``, and the built-in ones."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from embstore.base.errors import UnknownNameError
from embstore.base.text import N_TOKENS
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.item_columns import BUILT_IN, ColumnValues, computed, is_token_column, token_column

_HOW_TO_KEEP = "To store columns of a source: embstore build FILE --column text --keep NAME"


def column_types(catalog: Catalog, space: str) -> dict[str, str]:
    """Return the type of each column of a space's items, by name: stored ones, then built-in ones of its unit.

    Types are ``int64``, ``float64``, ``bool`` and ``string``.
    """
    unit = catalog.cards[space].unit
    stored = catalog.columns.types
    found = {name: kind for name, kind in stored.items() if not is_token_column(name)}
    if (counts := token_column(space)) in stored:
        found[N_TOKENS] = stored[counts]
    return found | {name: column.kind for name, column in BUILT_IN.items() if unit in column.units}


def chosen_columns(catalog: Catalog, space: str, names: Sequence[str]) -> dict[str, str]:
    """Return the type of each of some columns, by name; ``all`` stands for every stored one."""
    if tuple(names) == ("all",):
        return {name: kind for name, kind in column_types(catalog, space).items() if name not in BUILT_IN}
    known = column_types(catalog, space)
    for name in names:
        if name not in known:
            raise UnknownNameError("column", name, known, _HOW_TO_KEEP)
    return {name: known[name] for name in names}


def column_values(catalog: Catalog, space: str, names: Iterable[str], ids: Ids) -> dict[str, ColumnValues]:
    """Return the values of columns for some items (n,) of a space, in the order of their ids, by name."""
    requested = tuple(chosen_columns(catalog, space, tuple(names)))
    built_in = [name for name in requested if name in BUILT_IN]
    stored = {token_column(space) if name == N_TOKENS else name: name for name in requested if name not in BUILT_IN}
    found = {
        stored[name]: replace(values, name=stored[name])
        for name, values in catalog.columns.values([*stored], ids).items()
    }
    if built_in:
        items = catalog.items(ids.tolist())
        ordered = [items[item] for item in ids.tolist()]
        found |= {name: computed(name, ordered) for name in built_in}
    return {name: found[name] for name in requested}
