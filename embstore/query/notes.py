"""Write the notes of a result: reasons of missing values, and counts of items."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from embstore.metrics import Metric
from embstore.query.provenance import NONE_LEFT, NOTHING

Row = Mapping[str, Any]

_MOST_NAMED = 30


def notes_of(metric: Metric, rows: Sequence[Row], described: Sequence[str], across: Sequence[str]) -> list[str]:
    """Return the notes of the rows of a metric.

    Args:
        metric: Metric of the rows.
        rows: One for each space and layer, and for each dataset or word.
        described: The columns that say how items were selected.
        across: The columns beside the space that name what a table has side by side: a dataset, a lexicon.
    """
    return [*_reasons(metric, rows, described), *_left_out(metric, rows), *_counts(rows, described, across)]


def _reasons(metric: Metric, rows: Sequence[Row], described: Sequence[str]) -> Iterator[str]:
    """Yield the reasons of missing values, once for all layers with the same reason."""
    said = []
    for row in rows:
        if not row["reason"]:
            continue
        if row["n"] == 0 and not row.get("n_zero") and "total" not in row and "transform" not in described:
            yield f"{row['space']}: {row['reason'] if row['reason'].startswith(NONE_LEFT) else NOTHING}."
        else:
            said.append((row, row["reason"]))
    yield from _of_layers(metric, said)


def _left_out(metric: Metric, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the counts of excluded vectors, words or sentences that the printed table does not show."""
    first = next(column.name for column in metric.columns if column.shown and not column.is_key)
    columns = [c for c in metric.columns if c.name in ("n_zero", "n_duplicates") or c.name.endswith("_left_out")]
    said = [
        (row, f"{column.name} = {row[column.name]} ({column.help})")
        for row in rows
        for column in columns
        if row[first] is not None and row[column.name]
    ]
    yield from _of_layers(metric, said)


def _of_layers(metric: Metric, said: Iterable[tuple[Row, str]]) -> Iterator[str]:
    """Yield notes on rows, merged over the layers, words and datasets with the same note."""
    keys = [column.name for column in metric.columns if column.is_key]
    layers: dict[tuple[str, str, str], list[str]] = {}
    for row, text in said:
        name = ", ".join(str(row[key]) for key in keys if row[key] is not None)
        layers.setdefault((row["space"], text, name), []).append(row["layer_name"])
    names: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (space, text, name), of in layers.items():
        names.setdefault((space, text, tuple(of)), []).append(name)
    for (space, text, have), named in names.items():
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        where = ", ".join(filter(None, [space, *named[:_MOST_NAMED]])) + more
        yield f"{where}: layer{'s' if len(have) > 1 else ''} {', '.join(have)}: {text}."


def _counts(rows: Sequence[Row], described: Sequence[str], across: Sequence[str]) -> Iterator[str]:
    """Yield n for each space, and for each dataset that not all of is used, of how many."""
    counts: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        total = row.get("total")
        if total is None or row["n"] == total:
            where, of = row["space"], ""
        else:
            where, of = ", ".join([row["space"], *(str(row[key]) for key in across)]), f" of {total}"
        counts.setdefault((where, of), []).append(row["n"])
    drawn = f", a random sample (seed {rows[0]['seed']})" if rows and "sample" in described else ""
    after = f", after {rows[0]['transform']}" if rows and "transform" in described else ""
    for (where, of), n in counts.items():
        yield f"{where}: n = {'–'.join(map(str, sorted({min(n), max(n)})))}{of}{drawn}{after}"
