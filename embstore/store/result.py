"""Results of queries, which can be drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from embstore.base.table import Table

if TYPE_CHECKING:
    from embstore.plot import Figure


class Result(Table):
    """The table that a query returns."""

    @classmethod
    def of(cls, table: Table) -> Self:
        """Return a table as a result."""
        return cls(**vars(table))

    def plot(
        self,
        *,
        column: str | None = None,
        title: str | None = None,
        width: str = "170mm",
        height: str | None = None,
        style: str = "paper",
        logy: bool = False,
        x: str = "layer",
        logx: bool = False,
        labels: Mapping[str, str] | None = None,
        x_label: str | None = None,
        y_label: str | None = None,
        range: tuple[float, float] | None = None,
        caption: str | None = None,
        colours: Sequence[str] | None = (),
    ) -> "Figure":
        """Draw the result; the picture shows itself in a notebook, and ``save`` writes it.

        ``to_altair`` returns it as a chart of Altair, to go on with.

        Args:
            column: Column to draw, where the metric has several.
            title: Title; by default the name of what is measured, ``""`` for none.
            width: Width of the whole picture on paper, as in ``"80mm"`` or ``"3.3in"``.
            height: Height of each panel, likewise; by default one that suits the width.
            style: ``paper`` (black on white, small type), ``screen`` (larger type) or ``dark``.
            logy: Whether the scale of the values is logarithmic.
            x: What the x axis shows: ``layer``, or ``step`` for the training steps of several
                revisions.
            logx: Whether the scale of the training steps is logarithmic; it has room for step 0.
            labels: Space → what the picture calls it.
            x_label: Title of the x axis.
            y_label: Title of the y axis.
            range: Ends of the scale of values. What is outside is not drawn; a heat map gives it
                the colour of the end.
            caption: Caption; by default the number of vectors and what was chosen, ``"none"`` for
                none.
            colours: Colours of the curves, in their order, or of a scale from its first to its
                last, as ``#rrggbb``.

        Raises:
            UsageError: The result has no picture, or an option does not suit it.
            UnknownNameError: There is no such column, style or space.
        """
        from embstore.plot import PlotOptions, draw

        options = PlotOptions(
            column=column,
            title=title,
            width=width,
            height=height,
            style=style,
            logy=logy,
            x=x,
            logx=logx,
            labels=labels or {},
            x_label=x_label,
            y_label=y_label,
            range=range,
            caption=caption,
            colours=colours,
        )
        return draw(self, options)
