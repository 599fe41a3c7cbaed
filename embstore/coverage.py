"""What a space lacks of the texts of a question, and the command that embeds them."""

import shlex
from collections.abc import Sequence

import numpy as np

from embstore.metrics.data import Ids, Words
from embstore.space import Pooling, Unit
from embstore.storage.card import Card

_MOST_NAMED = 30


def lacking_texts(sides: Sequence[Words], held: Ids) -> tuple[str, ...]:
    """Return the texts that the space does not hold, each once."""
    return tuple(
        dict.fromkeys(one.texts[place] for one in sides for place in np.flatnonzero(~np.isin(one.ids, held)).tolist())
    )


def lacking_said(card: Card, lacking: Sequence[str], of: str) -> str:
    """Return the sentence that says which texts a space lacks, ``of`` how many of what."""
    return f"{card.space} lacks {len(lacking)} {of}: {listed(lacking)}."


def listed(texts: Sequence[str]) -> str:
    """Return texts in quotes, the first of them where there are many."""
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(map(repr, texts[:_MOST_NAMED])) + more


def remedy(sources: Sequence[str], lacking: Sequence[str], card: Card) -> str:
    """Return what can be done about texts that a space lacks, which stand in these sources, if they are known."""
    command = build_command(sources or ["FILE"], card)
    if not sources and len(lacking) <= _MOST_NAMED:
        command = f"printf '%s\\n' {shlex.join(lacking)} | {build_command(['-'], card)}"
    return f"Embed what is missing: {command}; go on without it: --missing skip; or choose other spaces with --space."


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
