"""Find the texts of a request that are missing from a space, and the command that embeds them."""

import shlex
from collections.abc import Sequence

import numpy as np

from embstore.metrics.data import Ids, Words
from embstore.space import Pooling, Unit
from embstore.storage.files.card import Card

_MOST_NAMED = 30
_FIRST_NAMED = 5  # where a command lists all
_MOST_IN_COMMAND = 50  # words of a remedy: the 25 + 25 of ValNorm fit


def lacking_texts(sides: Sequence[Words], held: Ids) -> tuple[str, ...]:
    """Return the distinct texts that are missing from the space."""
    return tuple(
        dict.fromkeys(one.texts[place] for one in sides for place in np.flatnonzero(~np.isin(one.ids, held)).tolist())
    )


def lacking_said(card: Card, lacking: Sequence[str], of: str, source: str | None = None) -> str:
    """Return a sentence that lists the texts missing from a space.

    Args:
        card: Card of the space.
        lacking: Missing texts.
        of: Total that the missing texts are part of: ``of the 65 texts of rg65``.
        source: The dataset or the file in which they stand. Then the first are named, and how all are listed.
    """
    if source is None or len(lacking) <= _FIRST_NAMED:
        return f"{card.space} lacks {len(lacking)} {of}: {listed(lacking)}."
    command = shlex.join(["embstore", "datasets", "missing", source, "--space", card.space])
    return f"{card.space} lacks {len(lacking)} {of}: {listed(lacking, _FIRST_NAMED)} (all: {command})."


def listed(texts: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Return texts in quotes, the first of them where there are many."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(map(repr, texts[:most])) + more


def remedy(sources: Sequence[str], lacking: Sequence[str], card: Card) -> str:
    """Return the remedy for texts missing from a space, with the command that embeds them from their sources."""
    return (
        f"Embed what is missing: {embed_command(sources, lacking, card)}; go on without it: --missing skip; or choose "
        "other spaces with --space."
    )


def embed_command(sources: Sequence[str], lacking: Sequence[str], card: Card) -> str:
    """Return the command that embeds missing texts into a space, from their sources or else standard input."""
    if sources or len(lacking) > _MOST_IN_COMMAND:
        return build_command(sources or ["FILE"], card)
    return f"printf '%s\\n' {shlex.join(lacking)} | {build_command(['-'], card)}"


def build_command(sources: Sequence[str], card: Card) -> str:
    """Return the command that embeds sources into a space."""
    parts = ["embstore", "build", *sources, "--model", card.model]
    if card.unit is not Unit.WORD:
        parts += ["--unit", card.unit.value]
    if card.unit is Unit.SENTENCE or card.pooling is not Pooling.LAST:  # the default of sentences is another one
        parts += ["--pooling", card.pooling.value]
    if card.template.pattern != "{text}":
        parts += ["--template", card.template.pattern]
    return shlex.join(parts)
