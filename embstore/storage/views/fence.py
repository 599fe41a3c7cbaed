"""Check a user's SQL: one SELECT that reads the views of a store, as DuckDB's own parser
understands it.

The connection opens the files of the store and no others (:func:`.connections.connect_for_users`).
DuckDB would also write the files that it may open, so what keeps SQL from writing is checked here:

* It is one SELECT, and is executed as a subquery, where DuckDB refuses COPY, INSERT and the like in
  a WITH clause.
* It names views of the store, and table functions on a short list. Others open files, change
  settings, or execute SQL in a string (``json_execute_serialized_sql``), which would not be a
  subquery.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from embstore.base.documents import Document
from embstore.base.errors import QueryError, nearest, shortened
from embstore.storage.sql import connections
from embstore.storage.views.macros import MACROS, VIEWS

if TYPE_CHECKING:
    import duckdb

_TABLE_FUNCTIONS = frozenset(
    (
        "generate_series",
        "json_each",
        "json_tree",
        "neighbours",
        "range",
        "repeat",
        "repeat_row",
        "unnest",
    )
)
_OF_DUCKDB = ("duckdb_", "pg_", "pragma_", "sqlite_")
"""Beginnings of the names of DuckDB's own views, but for those of ``information_schema``."""
_CONSTANT_FUNCTIONS = frozenset(
    (
        "abs",
        "ceil",
        "concat",
        "contains",
        "count",
        "count_star",
        "ends_with",
        "exp",
        "floor",
        "greatest",
        "instr",
        "least",
        "left",
        "len",
        "length",
        "levenshtein",
        "list_contains",
        "list_value",
        "ln",
        "log",
        "lower",
        "max",
        "min",
        "nullif",
        "prefix",
        "regexp_extract",
        "regexp_full_match",
        "regexp_matches",
        "replace",
        "right",
        "round",
        "sign",
        "sqrt",
        "starts_with",
        "strlen",
        "substring",
        "suffix",
        "trim",
        "upper",
    )
)
"""Functions that always give the same for the same arguments, in whatever order rows are read."""
_TIMES = frozenset(
    ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp")
)
"""Names that are functions of the time where no column has them."""


class Select(NamedTuple):
    """Statement that has passed the check."""

    sql: str  # statement as a subquery
    # Names of the views that it reads; ``datasets.name`` for those in the schema of datasets.
    views: frozenset[str]
    lists_views: bool  # whether it lists or describes views


def check(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    views: Collection[str],
    parameters: Collection[str] = (),
) -> Select:
    """Check a user's statement, and return it as a subquery.

    The connection only parses it. Views in the schema of datasets are ``datasets.name``. Parameters
    (``$name``) are refused unless they are among the given ones, which have a value.
    """
    wrapped = _as_subquery(connection, sql)
    nodes = [*_dictionaries(_syntax_tree(connection, wrapped))]
    known = {view.casefold(): view for view in views}
    defined = {
        entry["key"].casefold()
        for node in nodes
        if "cte_map" in node
        for entry in node["cte_map"]["map"]
    }
    read: set[str] = set()
    lists_views = False
    for node in nodes:
        kind = node.get("type")
        if kind == "TABLE_FUNCTION":
            name = node["function"].get("function_name", "").casefold()
            if name not in _TABLE_FUNCTIONS:
                allowed = ", ".join(sorted(_TABLE_FUNCTIONS))
                raise QueryError(
                    f"the table function {name} is not allowed in users' SQL. Allowed: {allowed}."
                )
        elif kind == "BASE_TABLE":
            schema, name = node["schema_name"].casefold(), _full_name(node)
            if name in known:
                read.add(known[name])
            elif schema == "information_schema":
                lists_views = True
            elif (
                schema
                or node["catalog_name"]
                or name not in defined
                or name.startswith(_OF_DUCKDB)  # a CTE of this name may be out of scope
            ):
                raise _unknown_view(name, known)
        elif kind == "SHOW_REF":
            lists_views = True
        elif node.get("class") == "PARAMETER" and node["identifier"] not in parameters:
            name = node["identifier"]
            raise QueryError(
                f"no value is given for the parameter ${name}: -p {name}=VALUE (parameters= in"
                " Python)."
            )
        macro = MACROS.get(node.get("function_name", "").casefold())
        if macro is not None and macro.reads_views:
            read |= VIEWS
    if not read <= {*views}:
        raise QueryError(
            "macros that read vectors cannot be called here, which reads"
            f" {', '.join(sorted(views))}."
        )
    return Select(wrapped, frozenset(read), lists_views)


def check_expression(sql: str) -> None:
    """Raise QueryError unless the text is exactly one SQL expression."""
    import duckdb

    try:
        sql.encode()
        duckdb.SQLExpression(sql)
    except (duckdb.Error, UnicodeEncodeError) as error:
        raise QueryError(
            f"{shortened(sql)!r} is not one SQL expression over the item columns:"
            f" {connections.first_line(error)}. A text stands in single quotes, as in text = 'dog',"
            " and a name with spaces in double ones."
        ) from error


def changing_part(sql: str) -> str | None:
    """Return a part of an SQL expression that may give another result another time, or None.

    That is a function outside a short list, such as ``random``, a time, or a sample.
    """
    check_expression(sql)
    connection = connections.open_shared().cursor()
    for node in _dictionaries(_syntax_tree(connection, f"SELECT (\n{sql}\n)")):
        name: str = node.get("function_name", "").casefold()
        is_constant = node.get("is_operator") or name in _CONSTANT_FUNCTIONS
        if name and (node["class"] == "WINDOW" or not is_constant):
            return name
        if node.get("sample"):
            return "sample"
        if times := _TIMES & {*map(str.casefold, node.get("column_names", ()))}:
            return min(times)
    return None


def _as_subquery(connection: "duckdb.DuckDBPyConnection", sql: str) -> str:
    """Return a statement as a subquery; raise QueryError unless it is one SELECT."""
    import duckdb

    try:
        data = sql.encode()
        kinds = [statement.type for statement in connection.extract_statements(sql)]
    except duckdb.InterruptException:  # by a time limit, or Ctrl-C
        raise
    except (duckdb.Error, ValueError) as error:  # no Unicode text, or a kind unknown to Python
        raise QueryError(f"this SQL cannot be read: {connections.first_line(error)}") from error
    if kinds != [duckdb.StatementType.SELECT]:
        raise QueryError("a store is only read: give one SELECT statement.")
    operators = (
        start for start, kind in duckdb.tokenize(sql) if kind == duckdb.token_type.operator
    )
    end = next((start for start in operators if data[start : start + 1] == b";"), None)
    return f"SELECT * FROM (\n{data[:end].decode()}\n)"


def _syntax_tree(connection: "duckdb.DuckDBPyConnection", sql: str) -> Document:
    """Return DuckDB's JSON syntax tree of a SELECT."""
    import duckdb

    try:
        [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
        tree: Document = json.loads(text)
    except duckdb.InterruptException:  # by a time limit, or Ctrl-C
        raise
    except (duckdb.Error, RecursionError) as error:
        raise QueryError(f"this SQL cannot be read: {connections.first_line(error)}") from error
    if tree["error"]:
        raise QueryError(f"this SQL cannot be read: {tree['error_message']}")
    return tree


def _dictionaries(tree: Any) -> Iterator[Document]:
    """Yield every dictionary of a JSON document, at any depth."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _full_name(table: Mapping[str, Any]) -> str:
    """Return the name of a table in a syntax tree, with its database and schema unless they are
    those of views.
    """
    parts = [table[key].casefold() for key in ("catalog_name", "schema_name", "table_name")]
    return ".".join(part for part in parts if part not in ("", "main", "memory"))


def _unknown_view(name: str, known: Mapping[str, str]) -> QueryError:
    """Return the error for a table that is no view of the store, with the nearest names."""
    near = nearest(name, [*known.values()])
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    views = ", ".join(sorted(known.values()))
    return QueryError(
        f"the store has no view {name!r}, and SQL reads nothing else.{hint} Views: {views}."
    )
