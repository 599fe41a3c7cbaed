"""Check a user's SQL: a single SELECT over the views of a store, as DuckDB's own parser reads it.

This is the first of two barriers. The second is that the connection that executes the SQL cannot write
(:mod:`.users_sql`). Macros give users' SQL the vector of a text, cosines, and nearest neighbours. DuckDB puts the
arguments of a macro into its body as they are written, so a body must not have a column that an argument could name:
the columns inside begin with a hyphen, and the parameters with an underscore.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from embstore.base.errors import EmbstoreError, NotStoredError, QueryError, UnknownNameError, nearest, shortened
from embstore.storage.files.card import Card
from embstore.storage.sql import connections

if TYPE_CHECKING:
    import duckdb

_NOT_STORED = "neighbours of what is not stored: "
_FAILURE = f"error('{_NOT_STORED}' || to_json([_space::VARCHAR, _layer::VARCHAR, _text::VARCHAR]))"
"""SQL that fails with the arguments of the macro, from which :func:`not_stored` reads them."""


class Macro(NamedTuple):
    """A macro that users' SQL may call."""

    signature: str  # how it is called
    help: str  # its result, in one line
    views: frozenset[str]
    statement: str  # statement that creates it
    needs: tuple[str, ...] = ()
    is_table: bool = False  # whether it is called in place of a table; its arguments are then constants


_VECTORS = """(SELECT space AS "-space", layer AS "-layer", item_id AS "-item", vector AS "-vector" FROM embeddings)"""
_ITEMS = """(SELECT item_id AS "-id", text AS "-text", unit AS "-unit" FROM items)"""

MACROS: Mapping[str, Macro] = {
    "cosine": Macro(
        "cosine(a, b)",
        "Cosine of two vectors, computed in float64; NULL if one is zero.",
        frozenset(),
        "CREATE MACRO cosine(_a, _b) AS nullif(list_cosine_similarity(_a::DOUBLE[], _b::DOUBLE[]), 'NaN'::DOUBLE)",
    ),
    "norm": Macro(
        "norm(v)",
        "Euclidean length of a vector, computed in float64.",
        frozenset(),
        "CREATE MACRO norm(_v) AS sqrt(list_inner_product(_v::DOUBLE[], _v::DOUBLE[]))",
    ),
    "vec": Macro(
        "vec(space, layer, text)",
        "Vector of a text in a layer (its number); NULL if it is not stored.",
        frozenset(("embeddings", "items", "spaces")),
        f"""CREATE MACRO vec(_space, _layer, _text) AS (
            SELECT "-vector" FROM {_VECTORS}, {_ITEMS}, (SELECT space AS "-name", unit AS "-its" FROM spaces)
            WHERE "-item" = "-id" AND "-space" = _space AND "-name" = _space AND "-layer" = _layer
            AND "-text" = _text AND "-unit" = "-its")""",
    ),
    "neighbours": Macro(
        "neighbours(space, layer, text, k := 10)",
        "Table of the k nearest other items by cosine: rank, item_id, text, cosine; an error if it is not stored.",
        frozenset(("embeddings", "items", "spaces")),
        f"""CREATE MACRO neighbours(_space, _layer, _text, k := 10) AS TABLE
            WITH "-query" AS MATERIALIZED (SELECT vec(_space, _layer, _text)::DOUBLE[] AS "-given")
            SELECT row_number() OVER (ORDER BY cosine DESC, item_id) AS rank, item_id, text, cosine FROM (
                SELECT "-item" AS item_id, "-text" AS text, cosine("-vector", "-given") AS cosine
                FROM {_VECTORS}, {_ITEMS}, "-query"
                WHERE "-item" = "-id" AND "-space" = _space AND "-layer" = _layer AND "-text" <> _text
                UNION ALL SELECT NULL, NULL, CASE WHEN "-given" IS NULL THEN {_FAILURE}::DOUBLE END FROM "-query")
            WHERE cosine IS NOT NULL ORDER BY cosine DESC, item_id LIMIT k""",
        needs=("cosine", "vec"),
        is_table=True,
    ),
}
"""Macros by name."""


def in_order(names: frozenset[str]) -> list[str]:
    """Return macros with those that their bodies call, each after these."""
    needed = {*names, *(other for name in names for other in MACROS[name].needs)}
    return [name for name in MACROS if name in needed]


def not_stored(
    message: str, cards: Sequence[Card], nearest_texts: Callable[[str, Sequence[str]], Sequence[str]]
) -> EmbstoreError | None:
    """Return the error for a call of ``neighbours`` that a message of DuckDB is about; None if it is about none."""
    try:
        space, layer, text = json.loads(message.partition(_NOT_STORED)[2])
    except ValueError:  # another error, which may quote the same words
        return None
    space, layer, text = ("NULL" if part is None else str(part) for part in (space, layer, text))
    by_name = {card.space: card for card in cards}
    if space not in by_name:
        return UnknownNameError("space", space, by_name)
    ids = [*map(str, by_name[space].layers.ids)]
    if layer not in ids:
        return UnknownNameError("layer", layer, ids, "In SQL a layer is its number.")
    near = nearest_texts(text, [space])
    found = f" Nearest stored texts: {', '.join(map(repr, near))}." if near else ""
    return NotStoredError(f"{shortened(text)!r} is not in {space}.{found} Add it with ⦃embstore build⦄.")


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
# Functions, operators and types that users' SQL may name. They read nothing but their arguments, and none of them ends
# the process: deep JSON does so in json_contains, json_transform and VARIANT. What a later DuckDB adds is refused until
# it has been reviewed.
_FUNCTION_NAMES = r"""
    !~~ !~~* % & && * ** + - ->> / // <-> << <=> <@ >> @ @> ^ ^@ | || ~ ~~ ~~* ~~~ abs acos acosh add age aggregate
    ago any_value apply approx_count_distinct approx_quantile approx_top_k arg_max arg_max_null arg_max_nulls_last
    arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg array_aggr array_aggregate array_append
    array_apply array_cat array_concat array_contains array_cosine_distance array_cosine_similarity
    array_cross_product array_distance array_distinct array_dot_product array_extract array_filter array_grade_up
    array_has array_has_all array_has_any array_indexof array_inner_product array_intersect array_length
    array_negative_dot_product array_negative_inner_product array_position array_prepend array_reduce array_resize
    array_reverse array_reverse_sort array_select array_slice array_sort array_to_json array_to_string
    array_transform array_unique array_value array_where array_zip ascii asin asinh atan atan2 atanh avg bar base64
    bin binom bit_and bit_count bit_length bit_or bit_xor bool_and bool_or cardinality cbrt ceil ceiling century
    char_length character_length chr concat concat_ws contains corr cos cosh cot count count_if count_star countif
    covar_pop covar_samp cume_dist current_date current_localtime current_localtimestamp damerau_levenshtein
    date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
    dayofweek dayofyear days_in_month decade decode degrees dense_rank divide editdist3 element_at encode ends_with
    entropy enum_code enum_first enum_last enum_range epoch epoch_ms epoch_ns epoch_us equi_width_bins era even exp
    factorial favg fdiv fill filter first first_value flatten floor fmod format format_bytes from_base64 from_binary
    from_hex fsum gamma gcd gen_random_uuid generate_series generate_subscripts geomean geometric_mean
    get_current_timestamp grade_up greatest greatest_common_divisor group_concat hamming hash hex histogram
    histogram_exact hour if ilike_escape instr isfinite isinf isnan isodow isoyear jaccard jaro_similarity
    jaro_winkler_similarity json_array json_array_length json_exists json_extract json_extract_path
    json_extract_path_text json_extract_string json_group_array json_group_object json_keys json_object json_quote
    json_type json_valid json_value julian kahan_sum kurtosis kurtosis_pop lag last last_day last_value lcase lcm
    lead least least_common_multiple left left_grapheme len length length_grapheme levenshtein lgamma like_escape
    list list_aggr list_aggregate list_any_value list_append list_apply list_approx_count_distinct list_avg
    list_bit_and list_bit_or list_bit_xor list_bool_and list_bool_or list_cat list_concat list_contains
    list_cosine_distance list_cosine_similarity list_count list_distance list_distinct list_dot_product list_element
    list_entropy list_extract list_filter list_first list_grade_up list_has list_has_all list_has_any list_histogram
    list_indexof list_inner_product list_intersect list_kurtosis list_kurtosis_pop list_last list_mad list_max
    list_median list_min list_mode list_negative_dot_product list_negative_inner_product list_pack list_position
    list_prepend list_product list_reduce list_resize list_reverse list_reverse_sort list_select list_sem
    list_skewness list_slice list_sort list_stddev_pop list_stddev_samp list_string_agg list_sum list_transform
    list_unique list_value list_var_pop list_var_samp list_where list_zip listagg ln log log10 log2 lower lpad ltrim
    lttb mad make_date make_time make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz map map_concat
    map_contains map_contains_entry map_contains_value map_entries map_extract map_extract_value map_from_entries
    map_keys map_values max max_by md5 mean median microsecond millennium millisecond min min_by minute mismatches
    mod mode month monthname multiply nanosecond nextafter nfc_normalize normalized_interval not_ilike_escape
    not_like_escape now nth_value ntile nullif octet_length ord overlay percent_rank pi position pow power prefix
    printf product quantile quantile_cont quantile_disc quarter radians random range rank rank_dense reduce
    regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope
    regr_sxx regr_sxy regr_syy repeat replace reverse right right_grapheme round round_even roundbankers row
    row_number row_to_json rpad rtrim second sem sha1 sha256 sign signbit sin sinh skewness split split_part sqrt
    starts_with stddev stddev_pop stddev_samp str_split str_split_regex strftime string_agg string_split
    string_split_regex string_to_array strip_accents strlen strpos strptime struct_concat struct_contains
    struct_extract struct_extract_at struct_has struct_indexof struct_insert struct_keys struct_pack struct_position
    struct_update struct_values substr substring substring_grapheme subtract suffix sum sumkahan switch tan tanh
    time_bucket timezone timezone_hour timezone_minute to_base to_base64 to_binary to_centuries to_days to_decades
    to_hex to_hours to_json to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds
    to_timestamp to_weeks to_years today translate trim trunc try_strptime typeof ucase unbin unhex unicode
    union_extract union_tag union_value unnest upper url_decode url_encode uuid uuidv4 uuidv7 var_pop var_samp
    variance wavg week weekday weekofyear weighted_avg xor year yearweek
"""
_TYPE_NAMES = """
    array bigint binary bit blob bool boolean bpchar bytea char date datetime dec decimal double enum float float4
    float8 hugeint int int1 int128 int16 int2 int32 int4 int64 int8 integer interval json list logical long map
    numeric nvarchar real row short signed smallint string struct text time timestamp timestamp_ms timestamp_ns
    timestamp_s timestamp_us timestamptz timetz tinyint ubigint uhugeint uint16 uint32 uint64 uint8 uinteger union
    usmallint utinyint uuid varbinary varchar
"""
_FUNCTIONS = _TABLE_FUNCTIONS.union(_FUNCTION_NAMES.split())
_TYPES = frozenset((*_TYPE_NAMES.split(), "time with time zone", "timestamp with time zone"))
_LONGEST = 1_000_000
"""Maximum length of a statement in characters."""
_DEEPEST = 200
"""Maximum depth of nested parentheses; several thousand exhaust the stack of DuckDB's parser."""
_MOST = 5_000
"""Maximum number of opening parentheses: the parser takes time quadratic in the parts of a WITH."""


class Select(NamedTuple):
    """Statement that has passed the check."""

    sql: str  # statement as a subquery, in which DuckDB refuses any statement that writes
    tables: frozenset[str]  # names of the views that it reads; ``datasets.name`` for those in the schema of datasets
    shows: bool  # whether it lists or describes tables
    macros: frozenset[str] = frozenset()  # names of the macros that it calls


def check(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    views: Collection[str],
    macros: Mapping[str, Macro] = MappingProxyType({}),
    *,
    has_parameters: bool = False,
) -> Select:
    """Check a user's statement, and return it as a subquery.

    The connection only parses it. Views in the schema of datasets are ``datasets.name``. Parameters (``$name``) are
    refused unless values are given.
    """
    _check_size(sql)
    tree = _parse(connection, sql)
    facts = _Facts(views, macros, _EXPRESSIONS | {"PARAMETER"} if has_parameters else _EXPRESSIONS)
    for node in _dictionaries(tree):
        facts.visit(node)
    facts.check_tables()
    return Select(_wrapped(connection, sql, tree), facts.read, facts.shows, frozenset(facts.called))


def check_expression(sql: str) -> None:
    """Raise QueryError unless the text is exactly one SQL expression."""
    import duckdb

    _check_size(sql)
    try:
        duckdb.SQLExpression(sql)
    except duckdb.Error as error:
        raise QueryError(
            f"{shortened(sql)!r} is not one SQL expression over the item columns: {connections.first_line(error)}. A "
            "text stands in single quotes, as in text = 'dog', and a name with spaces in double ones."
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


def _parse(connection: "duckdb.DuckDBPyConnection", sql: str) -> dict[str, Any]:
    """Return DuckDB's JSON syntax tree of exactly one SELECT."""
    import duckdb

    try:
        [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
        tree: dict[str, Any] = json.loads(text)
    except (duckdb.Error, RecursionError) as error:
        raise QueryError(f"this SQL cannot be read: {connections.first_line(error)}") from error
    if tree["error"] and tree["error_type"] != "not implemented":  # the error of statements other than SELECT
        raise QueryError(f"this SQL cannot be read: {tree['error_message']}")
    if tree["error"] or len(tree["statements"]) != 1:
        raise QueryError("a store is only read: give one SELECT statement.")
    return tree


def _wrapped(connection: "duckdb.DuckDBPyConnection", sql: str, tree: dict[str, Any]) -> str:
    """Return the statement as a subquery: its own text, or DuckDB's rendering of it where its text cannot be nested."""
    wrapped = f"SELECT * FROM (\n{sql.rstrip().rstrip(';').rstrip()}\n)"
    try:
        outer = _parse(connection, wrapped)["statements"][0]["node"]
    except QueryError:
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

    def __init__(self, views: Collection[str], macros: Mapping[str, Macro], expressions: Collection[str]) -> None:
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
                part = re.sub("_(NODE|QUERY|STATEMENT)", "", str(kind or node.get("info_type"))).replace("_", " ")
                raise QueryError(f"a store is only read: this SQL has a part that writes or acts ({part}).")
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
        if (name := node.get("function_name", "").casefold()) in self._macros and not node["schema"]:
            self.called.add(name)
        elif name and name not in _FUNCTIONS:
            hint = _hint(name, sorted({*_FUNCTIONS, *self._macros}))
            raise QueryError(f"users' SQL has no function {name!r}, or may not use it.{hint}")
        if node["class"] == "TYPE" and (name := node["type_name"].casefold()) not in _TYPES:
            raise QueryError(f"users' SQL has no type {name!r}, or may not use it.{_hint(name, sorted(_TYPES))}")

    def _visit_source(self, node: dict[str, Any]) -> None:
        """Record the table of a FROM clause; raise QueryError if its kind or function is not allowed."""
        kind = node["type"]
        if kind not in _SOURCES:
            raise QueryError(f"this SQL reads from something that is not allowed: {str(kind).lower()}.")
        if kind == "TABLE_FUNCTION":
            name = node["function"].get("function_name", "").casefold()
            tables = {macro for macro, about in self._macros.items() if about.is_table}
            if name in tables:
                self.called.add(name)
                if any(part.get("class") == "COLUMN_REF" for part in _dictionaries(node["function"]["arguments"])):
                    raise QueryError(  # for each of whose rows it would be run
                        f"the arguments of {name} are constants or parameters, not columns: call it for one text."
                    )
            elif name not in _TABLE_FUNCTIONS:
                allowed = ", ".join(sorted(_TABLE_FUNCTIONS | tables))
                raise QueryError(f"the table function {name} is not allowed in users' SQL. Allowed: {allowed}.")
        elif kind == "BASE_TABLE":
            if (catalog := node["catalog_name"].casefold()) not in ("", "memory"):
                raise QueryError(f"this SQL reads from another database: {catalog}.")
            self._named.add((node["schema_name"].casefold(), node["table_name"].casefold()))
        self.shows |= kind == "SHOW_REF" or node.get("schema_name", "").casefold() == "information_schema"

    def check_tables(self) -> None:
        """Raise QueryError if the statement reads a table that is neither a view of the store nor defined in it."""
        for schema, table in sorted(self._named):
            name = _full_name((schema, table))
            if name in self._views or (not schema and table in self._own) or schema == "information_schema":
                continue
            hint, views = _hint(name, self._views.values()), ", ".join(sorted(self._views.values()))
            raise QueryError(f"the store has no view {name!r}, and SQL reads nothing else.{hint} Views: {views}.")


def _hint(name: str, known: Iterable[str]) -> str:
    near = nearest(name, [*known])
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _full_name(name: tuple[str, str]) -> str:
    schema, table = name
    return table if schema in ("", "main") else f"{schema}.{table}"
