"""Draw tables of results by matplotlib."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from embstore.base.errors import check_known
from embstore.base.installation import needing
from embstore.base.table import Table
from embstore.plot.options import STYLES, SUFFIXES, PlotOptions, check_file
from embstore.plot.reading import read_result

if TYPE_CHECKING:
    from embstore.plot.figure import Picture

__all__ = ["STYLES", "SUFFIXES", "PlotOptions", "check_file", "draw", "plot", "read_result"]


def draw(tables: Table | Sequence[Table], options: PlotOptions | None = None) -> "Picture":
    """Draw a table, or several side by side, as a matplotlib figure.

    Raises:
        UsageError: A table has no figure, an option does not suit it, or matplotlib is missing.
        UnknownNameError: There is no such column or space.
    """
    with needing("figures are drawn by matplotlib", "plot"):
        from embstore.plot.figure import draw_figure

    return draw_figure([tables] if isinstance(tables, Table) else tables, options or PlotOptions())


def plot(table: Table, ax: Any = None, **options: Any) -> Any:
    """Draw a table, and return the Axes of its panel, or an array of the Axes of several.

    Args:
        table: Table to draw.
        ax: Axes to draw on, a sequence of them for several panels; None for a new figure.
        **options: Options as in :class:`PlotOptions`; with ``ax``, the style is that of the
            rcParams unless one is given.
    """
    for name in options:
        check_known("option of plot", name, PlotOptions.__annotations__)
    if ax is None:
        panels = draw(table, PlotOptions(**options)).panels
    else:
        with needing("figures are drawn by matplotlib", "plot"):
            from embstore.plot.figure import draw_on
        panels = list(ax.flat) if hasattr(ax, "flat") else ax if isinstance(ax, list) else [ax]
        draw_on(table, PlotOptions(**{"style": None, **options}), panels)
    if len(panels) == 1:
        return panels[0]
    import numpy as np

    return np.array(panels)
