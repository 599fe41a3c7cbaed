"""List the views and macros that users' SQL can read."""

from embstore.base.table import ShownColumn, Table, table
from embstore.storage.catalog import Catalog
from embstore.storage.views.macros import MACROS

_COLUMNS = """
SELECT CASE table_schema WHEN 'main' THEN table_name ELSE table_schema || '.' || table_name END AS name,
    string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns GROUP BY table_schema, table_name ORDER BY table_schema <> 'main', table_name
"""


def sql_views(catalog: Catalog) -> Table:
    """Return one row per view and per macro: its name, kind, and columns with types, or its result."""
    views = [
        {"name": name, "kind": "view", "content": columns} for name, columns in catalog.relation(_COLUMNS).fetchall()
    ]
    macros = [{"name": macro.signature, "kind": "macro", "content": macro.help} for macro in MACROS.values()]
    shown = (ShownColumn("name"), ShownColumn("content"))
    return table([*views, *macros], columns=["name", "kind", "content"], shown=shown)
