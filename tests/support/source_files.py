"""Tables as sources in the format of their suffix, and the texts of a source."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq

from embstore.sources.rows import Row


def texts(source):
    return [row.text for row in source.rows() if isinstance(row, Row)]


def write_table(path, rows, names=("text",)):
    """Write a table in the format of its suffix; a .txt has its first column alone."""
    if path.suffix == ".parquet":
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), path, row_group_size=500, compression="none")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([names, *rows])
    else:
        lines = ["\t".join(map(str, row)) for row in (names, *rows)]
        if path.suffix == ".jsonl":
            lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
        elif path.suffix == ".txt":
            lines = [row[0] for row in rows]
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path
