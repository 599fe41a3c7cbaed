"""Say which names a column of items may have."""

N_TOKENS = "n_tokens"
"""Column of the number of tokens of an item, which depends on the space and is stored for each by itself."""

_BUILT_IN = (N_TOKENS, "position", "zipf_frequency")

_RESERVED = frozenset((
    "item_id", "unit", "text", "context", "context_id", "span", "start", "end", "space", "layer", "layer_name",
    "vector", "model", "checkpoint", "revision", "step", "group", "all", "rowid", "filename", "file_row_number",
    "file_index", *_BUILT_IN,
))  # fmt: skip
_MAX_CHARS = 100


def name_problem(name: str) -> str | None:
    """Return why a column of items cannot have a name, as a clause; None if it can.

    Letter case does not distinguish names, as in SQL.
    """
    if not name or name != name.strip():
        return "a name is not empty, and has no space around it"
    if len(name) > _MAX_CHARS:
        return f"a name has at most {_MAX_CHARS} characters"
    if not name.isprintable():
        return "a name has no control characters"
    if name.lower() in _RESERVED or name.lower().startswith("n_tokens."):
        return "the name is one of embstore's own"
    return None
