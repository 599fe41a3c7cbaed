"""Report the result of an import or export."""

from dataclasses import dataclass
from pathlib import Path

from embstore.base.messages import Report
from embstore.base.progress import duration
from embstore.base.table import show_size


@dataclass(frozen=True, slots=True, repr=False)
class ImportReport(Report):
    """The result of an import."""

    store: Path | str
    space: str
    format: str
    imported: int  # items whose vectors were written
    present: int  # items whose vectors were stored before
    n_layers: int
    dim: int
    n_bytes: int  # of the shards and indexes written
    seconds: float
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        layers = "1 layer" if self.n_layers == 1 else f"{self.n_layers} layers"
        counts = f"{self.space}: {self.imported:,} imported ({self.format}, {layers}, dimension {self.dim:,})"
        return [
            f"{counts}, {self.present:,} already there",
            f"{show_size(self.n_bytes)} written to {self.store} in {duration(self.seconds)}",
        ]


@dataclass(frozen=True, slots=True, repr=False)
class ExportReport(Report):
    """The result of an export."""

    files: tuple[Path, ...]
    space: str
    format: str
    layers: tuple[str, ...]
    n: int
    dim: int
    n_bytes: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        layers = f"layer {self.layers[0]}" if len(self.layers) == 1 else f"layers {', '.join(self.layers)}"
        names = ", ".join(map(str, self.files[:6])) + (" …" if len(self.files) > 6 else "")
        return [
            f"{self.space}, {layers}: {self.n:,} items, dimension {self.dim:,} ({self.format}, "
            f"{show_size(self.n_bytes)}) in {names}"
        ]
