"""Read the names of a checkpoint's revisions: their training steps, and their part in the names of spaces."""

import re
from collections.abc import Iterable

# Pythia's step1000, OLMo's stage1-step1000-tokens5B, BLOOM's global_step1000, the Trainer's checkpoint-1000, or 1000.
_STEP = re.compile(r"(?:.*[-_.])?(?:(?:global_?)?step|checkpoint)[-_]?(\d{1,15})(?:[-_].*)?|(\d{1,15})", re.DOTALL)
_OUTSIDE_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def parse_revisions(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the distinct revisions in texts such as ``step0,step1000``, in order."""
    texts = (names,) if isinstance(names, str) else tuple(names)
    parts = (part.strip() for text in texts for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def step_of(revision: str) -> int | None:
    """Return the training step that a revision is named by (``step1000``, ``checkpoint-1000``, ``1000``), or None."""
    match = _STEP.fullmatch(revision)
    return int(match[1] or match[2]) if match else None


def as_name(text: str) -> str:
    """Return a text with only the characters of names of spaces; empty if none is left."""
    return _OUTSIDE_NAMES.sub("-", text).lstrip("._-")


def without_revision(space: str, revision: str | None) -> str:
    """Return the name of a space without the part that is its revision.

    Spaces of several revisions that have the same name then differ in nothing else.
    """
    part = as_name(revision or "")
    if not part:
        return space
    return f".{space}.".replace(f".{part}.", ".", 1).strip(".") or space
