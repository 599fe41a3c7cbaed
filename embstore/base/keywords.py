"""Names given as arguments, several or one, and paths."""

import os
from collections.abc import Iterable, Sequence

Names = str | Sequence[str]
StrPath = str | os.PathLike[str]


def as_names(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return several names, given as any iterable or as a single string; None is no name."""
    return (names,) if isinstance(names, str) else () if names is None else tuple(names)
