"""Write the notes of a result: reasons for missing values, and numbers of items."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from embstore.metrics import Metric
from embstore.query.provenance import NONE_LEFT, NOTHING_SELECTED

Row = Mapping[str, Any]

_MAX_NAMED = 30


def notes_of(
    metric: Metric,
    rows: Sequence[Row],
    described: Sequence[str],
    across: Sequence[str],
    whole: Collection[str] = (),
) -> list[str]:
    """Return the notes of the rows of a metric.

    Args:
        metric: Metric of the rows.
        rows: Rows, one per space and layer, and per dataset or word.
        described: Names of the columns that describe the selection: ``where``, ``sample``, ``seed``, ``transform``.
        across: Columns besides the space that a printed table spreads horizontally: ``dataset``, ``lexicon``.
        whole: Names of the spaces whose sample is all of their items, so that nothing was drawn.
    """
    return [*_reasons(metric, rows, described), *_left_out(metric, rows), *_counts(rows, described, across, whole)]


def _reasons(metric: Metric, rows: Sequence[Row], described: Sequence[str]) -> Iterator[str]:
    """Yield the reasons of missing values, once for all layers with the same reason."""
    reasons = []
    for row in rows:
        if not row["reason"]:
            continue
        is_empty = row["n"] == 0 and not row.get("n_zero") and "total" not in row and "group" not in row
        if is_empty and "transform" not in described:
            yield f"{row['space']}: {row['reason'] if row['reason'].startswith(NONE_LEFT) else NOTHING_SELECTED}."
        else:
            reasons.append((row, row["reason"]))
    yield from _merged(metric, reasons)


def _left_out(metric: Metric, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the counts of excluded vectors, words or sentences, and of ties, that the printed table does not show."""
    first = next(column.name for column in metric.columns if column.shown and not column.is_key)
    columns = [
        c for c in metric.columns if c.name in ("n_zero", "n_duplicates", "n_tied") or c.name.endswith("_left_out")
    ]
    counts = [
        (row, f"{column.name} = {row[column.name]} ({column.help})")
        for row in rows
        for column in columns
        if row[first] is not None and row[column.name]
    ]
    yield from _merged(metric, counts)


def _merged(metric: Metric, row_notes: Iterable[tuple[Row, str]]) -> Iterator[str]:
    """Yield the notes on rows, those with the same text merged over layers, words and datasets."""
    keys = ["group", *(column.name for column in metric.columns if column.is_key)]
    layers: dict[tuple[str, str, str], list[str]] = {}
    for row, text in row_notes:
        name = ", ".join(str(row[key]) for key in keys if row.get(key) is not None)
        layers.setdefault((row["space"], text, name), []).append(row["layer_name"])
    names: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (space, text, name), layer_names in layers.items():
        names.setdefault((space, text, tuple(layer_names)), []).append(name)
    for (space, text, merged_layers), merged_names in names.items():
        more = f" and {len(merged_names) - _MAX_NAMED} more" if len(merged_names) > _MAX_NAMED else ""
        where = ", ".join(filter(None, [space, *merged_names[:_MAX_NAMED]])) + more
        yield f"{where}: layer{'s' if len(merged_layers) > 1 else ''} {', '.join(merged_layers)}: {text}."


def _counts(
    rows: Sequence[Row], described: Sequence[str], across: Sequence[str], whole: Collection[str]
) -> Iterator[str]:
    """Yield the number of items used in each space, and in each dataset that is used in part, with its total."""
    counts: dict[tuple[str, str], list[int]] = {}
    drawn = f", a random sample (seed {rows[0]['seed']})" if rows and "sample" in described else ""
    for row in rows:
        total = row.get("total")
        if total is None or row["n"] == total:
            where, of_total = row["space"], ""
        else:
            where, of_total = ", ".join([row["space"], *(str(row[key]) for key in across)]), f" of {total}"
        if row["space"] not in whole:
            of_total += drawn
        counts.setdefault((where, of_total), []).append(row["n"])
    after = f", after {rows[0]['transform']}" if rows and "transform" in described else ""
    for (where, of_total), n in counts.items():
        yield f"{where}: n = {'–'.join(map(str, sorted({min(n), max(n)})))}{of_total}{after}"
