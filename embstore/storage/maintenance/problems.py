"""Describe the problems that a check finds: damaged files, and files that the system does not let it read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embstore.base.errors import FileAccessError, MissingFileError


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


def read_problem(error: FileAccessError) -> Problem:
    """Return the problem of a file that the system does not let embstore read.

    Raises:
        MissingFileError: The file does not exist: another process may have removed it since it was listed.
    """
    if isinstance(error, MissingFileError):
        raise error
    return Problem(Path(error.path), f"it could not be read: {error.reason}", is_damage=False)


def catch_unreadable(found: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the problems that a check finds; if it fails to read a file, yield that as the last problem.

    Raises:
        MissingFileError: As in :func:`read_problem`.
    """
    try:
        yield from found
    except FileAccessError as error:
        yield read_problem(error)


def check_each(paths: Iterable[Path], check: Callable[[list[Path]], Iterable[Problem]]) -> Iterator[Problem]:
    """Yield the problems of files that are checked one by one, including the unreadable ones.

    Args:
        paths: Files to check.
        check: Function that returns the problems of a list of one file.
    """
    for path in paths:
        yield from catch_unreadable(check([path]))
