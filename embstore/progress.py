"""How far a long task is, for those who show it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Attributes:
        stage: ``load``, ``encode`` or ``index``; of a reproduction also ``measure``, of other commands what they do.
        subject: the checkpoint, the space or the recipe.
        done: items embedded (``encode``), layers indexed (``index``) or queries answered (``measure``).
        total: of these.
        share: the part of the stage's work that is done, in [0, 1]. Long texts come first and take longer, so it is
            this that tells the time left, not ``done``.
        n_tokens: tokens that the model has read.
    """

    stage: str
    subject: str
    done: int = 0
    total: int = 0
    share: float = 0.0
    n_tokens: int = 0


Observer = Callable[[Progress], None]
