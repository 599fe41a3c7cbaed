"""Results of queries, which can be drawn."""

from typing import Any, Self

from embstore.base.table import Table


class Result(Table):
    """The table that a query returns."""

    @classmethod
    def of(cls, table: Table) -> Self:
        """Return a table as a result."""
        return cls(**vars(table))

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the result by matplotlib, and return the Axes, or an array of those of its panels.

        ``result.plot().figure.savefig("figure.pdf")`` writes the figure, in its style and with its
        provenance in the metadata. A figure of its own is no part of pyplot's state: to see it in a
        notebook, let ``result.plot().figure`` end a cell, or draw on Axes of ``plt.subplots()``.
        Its ``notes`` say what is not drawn, such as characters that no font has.

        Args:
            ax: Axes to draw on, or a sequence of them, one a panel; None for a new figure.
            **style: ``column``: column to draw, where the metric has several.
                ``title``: by default the name of what is measured, ``""`` for none.
                ``width``, ``height``: size of the whole figure on paper, as in ``"80mm"`` or
                ``"3.3in"``; by default 170 mm, and a height that suits it.
                ``style``: ``paper`` (black on white, small type), ``screen`` (larger type),
                ``dark``, or a file ``.mplstyle``; on Axes of yours by default the rcParams.
                ``logy``: whether the scale of the values is logarithmic.
                ``x``: what the x axis shows, ``layer``, or ``step`` for the training steps of
                several revisions; ``logx``: whether their scale is logarithmic, with room for 0.
                ``labels``: space → what the figure calls it.
                ``x_label``, ``y_label``: titles of the axes.
                ``range``: ends of the scale of values.
                ``caption``: by default spaces, numbers of vectors, intervals and what was chosen;
                ``"none"`` for none.
                ``colours``: colours of the curves, in their order, or of a scale from its first to
                its last, as ``#rrggbb``.
                ``label_words``: on a map the only items with their texts; by default all of at
                most 60.

        Raises:
            UsageError: The result has no figure, an option does not suit it, or matplotlib is
                missing.
            UnknownNameError: There is no such column, style or space.
        """
        from embstore.plot import plot

        return plot(self, ax, **style)
