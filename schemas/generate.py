"""The schemas that are made from the table of metrics: ``python -m embstore_schemas.generate``
writes them anew.
"""

import json
from pathlib import Path
from typing import Any

from embstore.base.messages import as_option, rendered
from embstore.metrics import METRICS, Column, Metric, Parameter
from embstore.metrics.declaration import Need

FOLDER = Path(__file__).parent / "query"

_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"]},
    "integer": {"type": ["integer", "null"]},
    "string": {"type": ["string", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "array of numbers": {"type": ["array", "null"], "items": {"type": ["number", "null"]}},
    "array of integers": {"type": ["array", "null"], "items": {"type": "integer"}},
}
_REVISION: dict[str, Any] = {
    "revision": {
        "type": ["string", "null"],
        "description": "Present if a space is of a named revision: branch, tag, commit or folder.",
    },
    "step": {
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "Present if a space is of a revision named by its training step.",
    },
}
_OPTIONAL = {*_REVISION, *(f"{name}_2" for name in _REVISION)}
_SPACE: dict[str, Any] = {
    "space": {"type": "string"},
    "model": {"type": "string", "description": "Short name of the checkpoint."},
    **_REVISION,
    "unit": {"enum": ["word", "sentence", "occurrence"]},
    "pooling": {"enum": ["last", "first", "mean", "bos", "eos", "projection", "model", "imported"]},
    "template": {"type": "string"},
    "layer": {"type": "integer", "minimum": 0},
    "layer_name": {
        "type": "string",
        "description": "The number, or raw, normed, projection or output.",
    },
    "n": {
        "type": "integer",
        "minimum": 0,
        "description": "Vectors that the values are computed from.",
    },
}
_TWO_LAYERS: dict[str, Any] = {
    **{name: schema for name, schema in _SPACE.items() if name != "n"},
    "space_2": {
        **_SPACE["space"],
        "description": "The space of the second layer: the same, or that of --against.",
    },
    **{f"{name}_2": schema for name, schema in _REVISION.items()},
    "layer_2": _SPACE["layer"],
    "layer_name_2": _SPACE["layer_name"],
    "n": {
        **_SPACE["n"],
        "description": "Items that the values are computed from, which both layers hold.",
    },
}
_ROWS: dict[str, Any] = {
    "store": {
        "type": "string",
        "description": "Present if several stores were queried: folder or URL, as given.",
    },
    "reason": {"type": ["string", "null"], "description": "Why a value is null."},
    "where": {"type": "string", "description": "Present if the items were filtered: the SQL."},
    "words": {
        "type": "string",
        "description": "Present if the items are those of a list of words: its file or words.",
    },
    "words_sha256": {
        "type": "string",
        "description": "Present with words: SHA-256 of the words, one a line, as of a file.",
    },
    "words_missing": {
        "type": "integer",
        "minimum": 0,
        "description": "Present with words: how many of the list the space has no item of.",
    },
    "group": {
        "type": ["string", "null"],
        "description": (
            "Present with by: the value of that column, or the interval; null for items without a"
            " value."
        ),
    },
    "by": {
        "type": "string",
        "description": "Present if the items are in groups: the column that divides them.",
    },
    "bins": {
        "type": "string",
        "description": "Present if the groups are intervals: how many, or their edges.",
    },
    "common": {
        "type": "string",
        "description": "Present with common: the spaces that all have the items.",
    },
    "sample": {
        "type": "integer",
        "minimum": 1,
        "description": "Present if the items were drawn: how many.",
    },
    "seed": {"type": "integer", "description": "Present with sample: the seed of the draw."},
    "transform": {
        "type": "string",
        "description": "Present if the vectors were transformed first: how.",
    },
}


# Of a metric that draws at random, instead of that of _ROWS.
_SEED: dict[str, Any] = {
    "seed": {
        "type": ["integer", "null"],
        "description": "The seed of what was drawn; null where nothing was.",
    }
}

# Columns that name the vectors of a row, by what the metric needs; _SPACE where none are given.
_IDENTITIES: dict[Need, dict[str, Any]] = {"layers": _TWO_LAYERS}


def query_schema(metric: Metric) -> dict[str, Any]:
    """Return the JSON Schema of ``embstore query METRIC --format json``: one object per row of the
    result.

    Args:
        metric: Metric of embstore or of a plug-in.
    """
    identity = _IDENTITIES.get(metric.needs, _SPACE)
    columns = {column.name: _column(column) for column in metric.columns}
    optional = {
        column.name: {
            **(schema := _column(column)),
            "description": f"With {each.name}: {schema['description']}",
        }
        for each in metric.parameters
        for column in each.columns
    } | {parameter.name: _parameter(parameter) for parameter in metric.recorded}
    row_parameters = {
        parameter.name: _parameter(parameter) for parameter in metric.row_parameters
    } | (_SEED if metric.is_seeded else {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"embstore:query-{metric.name}",
        "title": f"embstore query {metric.name} --format json",
        "description": f"{metric.help} {metric.formula}. {metric.citation}.",
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": [
                *(name for name in identity if name not in _OPTIONAL),
                *columns,
                "reason",
                *row_parameters,
            ],
            "properties": {**identity, **columns, **optional, **_ROWS, **row_parameters},
        },
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    """Return the schema of the column of a parameter, which has a value unless it has none by
    default.
    """
    if parameter.type == "array of strings":
        kind = ["array", "null"] if parameter.is_words else "array"
        help = (
            f"{rendered(parameter.help, as_option)}{' Those that were used.' * parameter.is_words}"
        )
        return {"type": kind, "items": {"type": "string"}, "description": help}
    schema: dict[str, Any] = (
        {"enum": list(parameter.choices)} if parameter.choices else {"type": parameter.type}
    )
    if parameter.default is None or parameter.counts_draws or parameter.only_with is not None:
        schema = {"anyOf": [schema, {"type": "null"}]}
    limits = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    return {**schema, **_given(limits), "description": rendered(parameter.help, as_option)}


def _column(column: Column) -> dict[str, Any]:
    limits = {"minimum": column.minimum, "maximum": column.maximum}
    schema = {**_TYPES[column.type], **({} if "items" in _TYPES[column.type] else _given(limits))}
    if "items" in schema:
        schema["items"] = {**schema["items"], **_given(limits)}
    help = rendered(column.help, as_option)
    return {**schema, "description": f"{help} ({column.unit})" if column.unit else help}


def _given(limits: dict[str, float | None]) -> dict[str, float]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def write() -> None:
    """Write the schema of every metric, and remove those of metrics that are gone."""
    for path in FOLDER.glob("*.schema.json"):
        if path.name.removesuffix(".schema.json") not in METRICS:
            path.unlink()
    for metric in METRICS.values():
        path = FOLDER / f"{metric.name}.schema.json"
        path.write_text(
            json.dumps(query_schema(metric), indent=2, ensure_ascii=False) + "\n", "utf-8"
        )


if __name__ == "__main__":
    write()
