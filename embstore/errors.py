"""Every error that embstore raises on purpose, and the one rule for their words.

A message names the thing, the place and the remedy. The command line prints it and exits with 2.

    EmbstoreError
    ├── UnknownNameError         a name that is not in a table: says the nearest and the known ones
    ├── UsageError               options that do not fit together, or a value out of range
    ├── SourceError              a file, a line or a dataset that cannot be read
    ├── CheckpointError          a checkpoint that cannot be used
    │   └── CheckpointUnavailableError   it is not here and cannot be downloaded
    ├── EncodeError              the model ran and the result cannot be used
    ├── StoreError               a store that cannot be opened, read or written
    │   ├── LockedError          another build is writing
    │   ├── DamagedError         a file that is truncated, altered or missing
    │   │   └── NewerFormatError     a file of a format that a later version introduced
    │   └── SpaceMismatchError   the name is taken by another space
    └── QueryError               a query that cannot be answered
        └── NotStoredError       a text that has no vector in the space
"""

from collections.abc import Iterable


class EmbstoreError(Exception):
    """The root of embstore's own errors; its text is fit to be shown to a user."""


class UsageError(EmbstoreError):
    """Options that do not fit together, or a value out of its range."""


class UnknownNameError(EmbstoreError):
    """A name that is not in a table of known names.

    Args:
        kind: what is named, in the singular ("metric", "space", "layer", "column" …).
        name: the name as the user gave it.
        known: every name that would have been accepted.
        hint: a remedy to add, as a sentence.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        parts = [f"unknown {kind} {name!r}."]
        if near := nearest(name, self.known):
            parts.append(f"Did you mean {' or '.join(repr(n) for n in near)}?")
        parts.append(f"Known: {', '.join(self.known)}." if self.known else "There are none.")
        if hint:
            parts.append(hint)
        super().__init__(" ".join(parts))


class SourceError(EmbstoreError):
    """A file, a line of it, or a dataset that cannot be read."""


class CheckpointError(EmbstoreError):
    """A checkpoint that cannot be used."""


class CheckpointUnavailableError(CheckpointError):
    """A checkpoint that is not on this machine and cannot be downloaded."""


class EncodeError(EmbstoreError):
    """The model ran, and what it gave cannot be used (or it cannot run in the memory there is)."""


class StoreError(EmbstoreError):
    """A store that cannot be opened, read or written."""


class LockedError(StoreError):
    """Another process is writing to the store."""


class DamagedError(StoreError):
    """A file of the store is truncated, altered or missing."""


class NewerFormatError(DamagedError):
    """A file of the store has a format that a later version introduced."""


class SpaceMismatchError(StoreError):
    """A space of that name exists and is not the one that was asked for."""


class QueryError(EmbstoreError):
    """A query that cannot be answered."""


class NotStoredError(QueryError):
    """A text that has no vector in the spaces that were asked."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return up to ``n`` of the known names that look like ``name``, the most alike first."""
    from difflib import get_close_matches  # only on the way to an error

    lowered = {candidate.lower(): candidate for candidate in known}
    wanted = name.lower()
    swapped = [candidate for candidate in lowered if len(wanted) > 2 and sorted(candidate) == sorted(wanted)]
    alike = [*swapped, *(match for match in get_close_matches(wanted, lowered, n=n) if match not in swapped)]
    return [lowered[match] for match in alike[:n]]
