"""Items as rows of a table, from which they are made where they are needed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from embstore.base.space import Unit
from embstore.base.text import Item, Span

COLUMNS = ("item_id", "text", "context_id", "start", "end")


@dataclass(frozen=True, slots=True, eq=False)
class ItemRows:
    """Items of one unit as rows; sent to another process, they cost hundredths of what the items would.

    They are pickled as a stream of Arrow, since Ray loads pandas to send a table.

    Attributes:
        unit: Unit of the items.
        table: Rows (n,) with the columns :data:`COLUMNS`.
        contexts: Sentences of occurrences, by id.
    """

    unit: Unit
    table: pa.Table
    contexts: Mapping[int | None, str]

    def __reduce__(self) -> tuple[Any, ...]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        return _from_stream, (self.unit, sink.getvalue(), self.contexts)

    def items(self) -> list[Item]:
        """Return the items (n,), made anew."""
        columns = (self.table[name].to_pylist() for name in COLUMNS)
        return [
            Item(self.unit, text, self.contexts.get(context), None if start is None else Span(start, end), item)
            for item, text, context, start, end in zip(*columns, strict=True)
        ]

    def part(self, of: slice) -> "ItemRows":
        """Return some consecutive rows."""
        first, end, _ = of.indices(self.table.num_rows)
        return replace(self, table=self.table.slice(first, max(0, end - first)))


def _from_stream(unit: Unit, stream: pa.Buffer, contexts: Mapping[int | None, str]) -> ItemRows:
    """Return the rows that were pickled as a stream."""
    return ItemRows(unit, pa.ipc.open_stream(stream).read_all(), contexts)
