"""Estimate how wide texts are, and break and shorten them, before anything is rendered."""

from collections.abc import Sequence

# Widths of the characters from space to tilde in Helvetica, and so in Arial and Liberation Sans, in thousandths of an
# em: Adobe's font metrics (Technical Note 5004).
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778,
    722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278,
    278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
SURE = 0.93
"""Part of a length that a text may take by estimate: its font may be wider, and a picture narrower than requested."""
_OTHER, _FULL_WIDTH = 700, 1000
_FIRST_EAST_ASIAN = 0x1100


def text_width(text: str, size: float) -> float:
    """Return the width of a text in pixels; characters beyond ASCII are estimated.

    Args:
        text: One line.
        size: Font size in pixels.
    """
    return sum(map(_em, text)) * size


def _em(character: str) -> float:
    code = ord(character)
    if 32 <= code < 32 + len(_WIDTHS):
        return _WIDTHS[code - 32] / 1000
    return (_FULL_WIDTH if code >= _FIRST_EAST_ASIAN else _OTHER) / 1000


def break_lines(text: str, width: float, size: float) -> list[str]:
    """Return a text in lines that are no wider than ``width`` pixels, broken at spaces; long words stand alone."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def shorten(text: str, width: float, size: float) -> str:
    """Return a text cut with an ellipsis to at most ``width`` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def thin_out(labels: Sequence[str], room: float, size: float) -> list[int]:
    """Return the positions of labels, evenly spaced from the first, that fit side by side in ``room`` pixels."""
    if not labels:
        return []
    widest = max(text_width(label, size) for label in labels) + size * 0.6
    step = next((s for s in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20) if widest * len(labels) / s <= room), len(labels))
    return list(range(0, len(labels), step))


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places moved apart to at least ``gap``, as little as a single pass each way allows, in [low, high].

    Args:
        places: Positions in pixels, in any order.
        gap: Smallest distance of two positions.
        low: Smallest position.
        high: Largest position.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [*places]
    for before, at in zip([None, *order], order, strict=False):
        moved[at] = max(moved[at], low if before is None else moved[before] + gap)
    for after, at in zip([None, *reversed(order)], reversed(order), strict=False):
        moved[at] = min(moved[at], high if after is None else moved[after] - gap)
    return moved
