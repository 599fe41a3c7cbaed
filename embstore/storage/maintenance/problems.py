"""Describe the problems that a check finds: damaged files, and files that the system does not let it read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embstore.errors import FileAccessError, MissingFileError


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem of a file.

    Attributes:
        file: File at fault.
        problem: Description of the problem.
        is_damage: Whether the content is wrong; False if the system does not let it be read.
    """

    file: Path
    problem: str
    is_damage: bool = True


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """Stored answers that were recomputed as a sample.

    Attributes:
        n_stored: Number of current stored answers that can be computed from the store alone.
        n_computed: Number of answers that were recomputed.
        seed: Random seed of the sample.
        skipped: Reasons why other stored answers were left out, each with their count.
    """

    n_stored: int
    n_computed: int
    seed: int
    skipped: tuple[tuple[str, int], ...] = ()


def unread(error: FileAccessError) -> Problem:
    """Return the problem of a file that could not be read.

    Raises:
        MissingFileError: there is none: one that was listed may have been removed since, as it should be.
    """
    if isinstance(error, MissingFileError):
        raise error
    return Problem(Path(error.path), f"it could not be read: {error.reason}", is_damage=False)


def noted(found: Iterable[Problem]) -> Iterator[Problem]:
    """Yield problems; a file that the system does not let it read becomes the last of them.

    Raises:
        MissingFileError: As in :func:`unread`.
    """
    try:
        yield from found
    except FileAccessError as error:
        yield unread(error)


def noted_each(paths: Iterable[Path], check: Callable[[list[Path]], Iterable[Problem]]) -> Iterator[Problem]:
    """Yield the problems of files that are checked one by one, as :func:`noted`."""
    for path in paths:
        yield from noted(check([path]))
