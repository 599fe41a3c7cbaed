"""Check a user's SQL: a single SELECT over the views of a store, as DuckDB's own parser reads it.

This is the first of two barriers. The second is that the connection that executes the SQL cannot write
(:mod:`.sandbox`).
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Any, NamedTuple

import duckdb

from embstore.errors import QueryError, nearest
from embstore.storage.sql import connections

# Node types allowed in DuckDB's JSON of a SELECT. All others are refused, so that a node type that a later DuckDB adds
# is refused until it has been reviewed.
_QUERIES = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"))
_SOURCES = frozenset(
    ("BASE_TABLE", "EMPTY", "EMPTY_FROM", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY", "TABLE_FUNCTION")
)
_EXPRESSIONS = frozenset(
    ("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "DEFAULT", "FUNCTION",
     "LAMBDA", "LAMBDA_REF", "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW")
)  # fmt: skip
_TABLE_FUNCTIONS = frozenset(
    ("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree")
)  # fmt: skip
# Functions that read or change state outside their arguments.
_REFUSED_FUNCTIONS = frozenset(
    ("write_log", "getenv", "nextval", "currval", "setval", "setseed", "current_setting", "query", "query_table")
)  # fmt: skip
_LONGEST = 1_000_000
"""Maximum length of a statement in characters."""
_DEEPEST = 200
"""Maximum depth of nested parentheses; several thousand exhaust the stack of DuckDB's parser."""
_MOST = 5_000
"""Maximum number of opening parentheses: the parser takes time quadratic in the parts of a WITH."""
_SHOWN = 100
"""Number of characters of a statement that an error message quotes."""


class Select(NamedTuple):
    """Statement that has passed the check.

    Attributes:
        sql: Statement as a subquery, in which DuckDB refuses any statement that writes.
        tables: Names of the views that it reads; ``datasets.name`` for those in the schema of datasets.
        shows: Whether it lists or describes tables.
        macros: Names of the macros that it calls.
    """

    sql: str
    tables: frozenset[str]
    shows: bool
    macros: frozenset[str] = frozenset()


class MacroUse(NamedTuple):
    """Macro that users' SQL may call.

    Attributes:
        views: Names of the views that it reads.
        is_table: Whether it is called in place of a table.
    """

    views: frozenset[str]
    is_table: bool


def check(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    views: Collection[str],
    macros: Mapping[str, MacroUse] = MappingProxyType({}),
    *,
    has_parameters: bool = False,
) -> Select:
    """Check a user's statement, and return it as a subquery.

    Args:
        connection: Connection whose parser reads the statement, which is not executed.
        sql: Statement of the user.
        views: Names of all views that it may read; ``datasets.name`` for those in the schema of datasets.
        macros: Macros that it may call, by name.
        has_parameters: Whether values are given for parameters (``$name``), which are refused otherwise.

    Raises:
        QueryError: The statement is not exactly one SELECT, or does anything other than read the views.
    """
    _check_size(sql)
    _check_kind(connection, sql)
    tree = _parse(connection, sql)
    facts = _Facts(views, macros, _EXPRESSIONS | {"PARAMETER"} if has_parameters else _EXPRESSIONS)
    for node in _dictionaries(tree):
        facts.visit(node)
    facts.check_tables()
    return Select(_wrapped(connection, sql, tree), facts.read, facts.shows, frozenset(facts.called))


def check_expression(sql: str) -> None:
    """Raise QueryError unless the text is exactly one SQL expression."""
    _check_size(sql)
    try:
        duckdb.SQLExpression(sql)
    except duckdb.Error as error:
        shown = sql if len(sql) <= _SHOWN else f"{sql[:_SHOWN]}…"
        raise QueryError(
            f"{shown!r} is not one SQL expression over the item columns: {connections.first_line(error)}. A text "
            "stands in single quotes, as in text = 'dog', and a name with spaces in double ones."
        ) from error


def _check_size(sql: str) -> None:
    """Raise QueryError for a text that is too long, too deeply nested or not Unicode for DuckDB's parser."""
    if len(sql) > _LONGEST:
        raise QueryError(f"this SQL has {len(sql):,} characters. Give at most {_LONGEST:,}.")
    if sql.count("(") > _MOST:
        raise QueryError(f"this SQL has {sql.count('('):,} parentheses. Give at most {_MOST:,}.")
    steps = (1 if bracket == "(" else -1 for bracket in re.findall("[()]", sql))
    if max(accumulate(steps), default=0) > _DEEPEST:
        raise QueryError(f"this SQL is nested too deeply. Open at most {_DEEPEST} parentheses at once.")
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"this SQL is not Unicode text: {error.reason} at character {error.start + 1}.") from error


def _check_kind(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise QueryError unless the text is exactly one SELECT statement."""
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(f"this SQL cannot be read: {connections.first_line(error)}") from error
    if len(statements) != 1 or not _is_select(statements[0]):
        raise QueryError("a store is only read: give one SELECT statement.")


def _is_select(statement: duckdb.Statement) -> bool:
    try:
        return statement.type == duckdb.StatementType.SELECT
    except ValueError:  # a kind of statement for which DuckDB's Python has no name
        return False


def _parse(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """Return DuckDB's JSON syntax tree of exactly one SELECT."""
    try:
        [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
        tree: dict[str, Any] = json.loads(text)
    except (duckdb.Error, RecursionError) as error:
        raise QueryError(f"this SQL cannot be read: {connections.first_line(error)}") from error
    if tree.get("error"):
        raise QueryError(f"this SQL cannot be read: {tree.get('error_message')}")
    if len(tree["statements"]) != 1:
        raise QueryError("a store is only read: give one SELECT statement.")
    return tree


def _wrapped(connection: duckdb.DuckDBPyConnection, sql: str, tree: dict[str, Any]) -> str:
    """Return the statement as a subquery: its own text, or DuckDB's rendering of it where its text cannot be nested."""
    wrapped = f"SELECT * FROM (\n{sql.rstrip().rstrip(';').rstrip()}\n)"
    try:
        statements = connection.extract_statements(wrapped)
    except duckdb.Error:
        statements = []
    if len(statements) != 1 or not _is_select(statements[0]):
        [(text,)] = connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)]).fetchall()
        wrapped = f"SELECT * FROM (\n{text}\n)"
    outer = _parse(connection, wrapped)["statements"][0]["node"]
    if outer["from_table"]["type"] != "SUBQUERY" or any(outer[key] for key in ("modifiers", "where_clause", "having")):
        raise QueryError("this SQL cannot be read as a subquery: give one SELECT statement.")
    return wrapped


def _dictionaries(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every dictionary of a JSON document, at any depth."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


class _Facts:
    """Tables, macros and properties collected from a statement's syntax tree."""

    def __init__(self, views: Collection[str], macros: Mapping[str, MacroUse], expressions: Collection[str]) -> None:
        self.shows = False
        self.called: set[str] = set()
        self._macros, self._expressions = macros, expressions
        self._views = {view.casefold(): view for view in views}
        self._named: set[tuple[str, str]] = set()  # schema, table
        self._own: set[str] = set()

    @property
    def read(self) -> frozenset[str]:
        """Names of the views that the statement reads."""
        named = frozenset(self._views[name] for name in map(_full_name, self._named) if name in self._views)
        return named.union(*(self._macros[name].views for name in self.called))

    def visit(self, node: dict[str, Any]) -> None:
        """Record a node of the syntax tree, or raise QueryError if its kind is not allowed."""
        kind = node.get("type")
        if {"info_type", "cte_map"} & node.keys() or str(kind).endswith(("_NODE", "_STATEMENT")):
            if kind not in _QUERIES:
                raise QueryError(f"a store is only read: this SQL has a part that writes or acts ({_spoken(node)}).")
            self._own |= {str(entry["key"]).casefold() for entry in node["cte_map"]["map"]}
        elif "class" in node:
            self._visit_expression(node)
        elif "alias" in node and "sample" in node:
            self._visit_source(node)

    def _visit_expression(self, node: dict[str, Any]) -> None:
        """Raise QueryError if a kind of expression or a function is not allowed; record the macros."""
        if node["class"] == "PARAMETER" and "PARAMETER" not in self._expressions:
            name = node.get("identifier", "")
            raise QueryError(f"no value is given for the parameter ${name}: -p {name} VALUE (parameters= in Python).")
        if node["class"] not in self._expressions:
            raise QueryError(f"this SQL has a part that is not allowed: {node['class'].lower()}.")
        if node["class"] == "FUNCTION" and (name := node["function_name"].casefold()) in _REFUSED_FUNCTIONS:
            raise QueryError(f"the function {name} is not allowed in users' SQL.")
        if node["class"] == "FUNCTION" and name in self._macros and not node["schema"]:
            self.called.add(name)

    def _visit_source(self, node: dict[str, Any]) -> None:
        """Record the table of a FROM clause; raise QueryError if its kind or function is not allowed."""
        kind = node["type"]
        if kind not in _SOURCES:
            raise QueryError(f"this SQL reads from something that is not allowed: {str(kind).lower()}.")
        if kind == "TABLE_FUNCTION":
            name = node["function"].get("function_name", "").casefold()
            tables = {macro for macro, about in self._macros.items() if about.is_table}
            if name in tables:
                self._check_constants(name, node["function"])
            elif name not in _TABLE_FUNCTIONS:
                allowed = ", ".join(sorted(_TABLE_FUNCTIONS | tables))
                raise QueryError(f"the table function {name} is not allowed in users' SQL. Allowed: {allowed}.")
        elif kind == "BASE_TABLE":
            if (catalog := node["catalog_name"].casefold()) not in ("", "memory"):
                raise QueryError(f"this SQL reads from another database: {catalog}.")
            self._named.add((node["schema_name"].casefold(), node["table_name"].casefold()))
        self.shows |= kind == "SHOW_REF" or node.get("schema_name", "").casefold() == "information_schema"

    def _check_constants(self, name: str, function: dict[str, Any]) -> None:
        """Raise QueryError if an argument of a table macro names a column, for each of whose rows it would be run."""
        self.called.add(name)
        if any(node.get("class") == "COLUMN_REF" for node in _dictionaries(function["arguments"])):
            raise QueryError(f"the arguments of {name} are constants or parameters, not columns: call it for one text.")

    def check_tables(self) -> None:
        """Raise QueryError if the statement reads a table that is neither a view of the store nor defined in it."""
        for schema, table in sorted(self._named):
            name = _full_name((schema, table))
            if name in self._views or (not schema and table in self._own) or schema == "information_schema":
                continue
            near = nearest(name, self._views.values())
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            views = ", ".join(sorted(self._views.values()))
            raise QueryError(f"the store has no view {name!r}, and SQL reads nothing else.{hint} Views: {views}.")


def _full_name(name: tuple[str, str]) -> str:
    schema, table = name
    return table if schema in ("", "main") else f"{schema}.{table}"


def _spoken(node: dict[str, Any]) -> str:
    kind = str(node.get("type") or node.get("info_type"))
    return kind.removesuffix("_NODE").removesuffix("_QUERY").removesuffix("_STATEMENT").replace("_", " ")
