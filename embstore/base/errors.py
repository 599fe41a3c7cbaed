"""Define the errors of embstore.

A message names the thing, the place and the remedy. The command line prints it and exits with 2.
"""

import errno
import os
from collections.abc import Iterable
from typing import Any

from embstore.base.messages import printable


class EmbstoreError(Exception):
    """The base class of embstore's errors.

    Its text is safe to print: control characters are escaped, since a message may quote a stored
    text, a file name or another package.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), lines=True)

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is pickled as its class and its message, which not every class
        # takes as arguments.
        return _restored, (type(self), self.args, vars(self))


def _restored(
    kind: type[EmbstoreError], arguments: tuple[Any, ...], attributes: dict[str, Any]
) -> EmbstoreError:
    """Return a pickled error."""
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


class UsageError(EmbstoreError):
    """Options that do not fit together, or a value out of its range."""


_MOST_QUOTED = 300  # characters of a name or text
_MOST_KNOWN, _FEW_KNOWN = 50, 12  # names that are listed whole, and of more than these

_SYNONYMS: dict[tuple[str, str], str] = {
    **{("pooling", name): "bos" for name in ("cls", "[cls]", "sos")},
    **{("pooling", name): "mean" for name in ("avg", "average")},
    **{("pooling", name): "weighted" for name in ("weightedmean", "weighted-mean", "sgpt")},
    **{("pooling", name): "eos" for name in ("sep", "[sep]")},
    **{("pooling", name): "last" for name in ("last_token", "last-token", "lasttoken")},
    **{("layer", name): "top" for name in ("last", "final", "output", "highest")},
    **{("layer", name): "0" for name in ("first", "embedding", "embeddings", "input", "bottom")},
    **{("unit", name): "sentence" for name in ("text", "document", "passage", "paragraph")},
    **{("unit", name): "occurrence" for name in ("token", "context", "contextual")},
    **{("format", name): "table" for name in ("text", "txt")},
    ("format", "md"): "markdown",
    ("format", "ndjson"): "jsonl",
}
"""Other tools' names for the same thing: kind and name → embstore's name."""


class UnknownNameError(EmbstoreError):
    """A name that is not in a table of known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        parts = [f"unknown {kind} {shortened(name)!r}."]
        synonym = _SYNONYMS.get((kind, name.lower()))
        if near := [synonym] if synonym in self.known else nearest(name, self.known):
            parts.append(f"Did you mean {' or '.join(repr(match) for match in near)}?")
        shown = ", ".join(self.known)
        if len(self.known) > _MOST_KNOWN:
            n_more = len(self.known) - _FEW_KNOWN
            shown = f"{', '.join(self.known[:_FEW_KNOWN])} and {n_more} more"
        parts.append(f"Known: {shown}." if self.known else "There are none.")
        if hint:
            parts.append(hint)
        super().__init__(" ".join(parts))


def check_known(kind: str, name: str | None, known: Iterable[str], hint: str = "") -> None:
    """Raise UnknownNameError for a name that is not among the known ones; None is no name."""
    known = tuple(known)
    if name is not None and name not in known:
        raise UnknownNameError(kind, name, known, hint)


class SourceError(EmbstoreError):
    """A file, a line of it, or a dataset that cannot be read."""


class CheckpointError(EmbstoreError):
    """A checkpoint that cannot be used."""


class CheckpointUnavailableError(CheckpointError):
    """A checkpoint that is not on this machine and cannot be downloaded."""


class EncodeError(EmbstoreError):
    """The model failed, ran out of memory, or gave vectors that cannot be used."""


class ClusterError(EmbstoreError):
    """A cluster that cannot be used, or a worker of it that differs from the others."""


class StoreError(EmbstoreError):
    """A store that cannot be opened, read or written."""


class LockedError(StoreError):
    """Another process is writing to the store."""


class DamagedError(StoreError):
    """A file of the store is truncated, altered or missing."""


class UnsupportedFormatError(DamagedError):
    """The store has a format that this version does not read."""


_PERMISSIONS = "Check the permissions of it and of the folders above it, or choose another folder."
_NOT_ANSWERING = "The network file system does not answer: check the network, or mount it again."
_NO_SPACE = (
    "Free some space and run the same command again: what was written before is whole, and a build"
    " goes on where it stopped."
)
_REMEDIES = {
    errno.ENOENT: "Check the path.",
    errno.EMFILE: "This process has too many files open: raise the limit, as with ulimit -n 65536.",
    errno.ENFILE: "All programs together have too many files open: end some of them.",
    errno.ENOMEM: "The system has no memory left: free some, or ask for less at a time.",
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EROFS: "Queries work on a read-only store; to build, choose another folder.",
    errno.ESTALE: "The network file system has lost it: mount that again.",
    errno.EIO: "The disk or the network failed: look at the system's log, and check the device.",
    errno.ETIMEDOUT: _NOT_ANSWERING,
    errno.EHOSTDOWN: _NOT_ANSWERING,
    errno.ENOTCONN: "The network file system is not connected: mount it again.",
    errno.ENAMETOOLONG: "The name is too long: shorten it.",
    errno.ELOOP: "Symbolic links lead from one to the other without an end: remove them.",
    errno.ENOTDIR: "A folder above it is a file: move that away, or name another folder.",
    errno.EISDIR: "A folder stands where a file belongs: move it away.",
    errno.EEXIST: "A file stands where a folder belongs: move it away, or name another folder.",
    errno.EBUSY: "Another program holds it: wait for it to end.",
}


def system_reason(error: OSError) -> str:
    """Return what the system says of an operation on a file, and a remedy."""
    if error.errno is None:
        return f"{error or type(error).__name__}."
    return f"{os.strerror(error.errno)}. {_REMEDIES.get(error.errno, '')}".rstrip()


class RemoteError(StoreError):
    """A store at a URL cannot be reached, read or written; it does not mean that it is damaged."""


class MissingObjectError(RemoteError):
    """There is no such object in a bucket."""


class SpaceMismatchError(StoreError):
    """A different space of the requested name exists."""


class QueryError(EmbstoreError):
    """A query that cannot be answered."""


class NotStoredError(QueryError):
    """A text has no vector in the requested spaces."""


def shortened(text: str) -> str:
    """Return a text that a message quotes, cut where it is far longer than a line."""
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}…"


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return up to ``n`` known names that are spelt like ``name``, the most similar first, then
    those that contain it.

    Case is ignored. A number is like those names alone that contain it.
    """
    from difflib import get_close_matches  # needed only for errors

    lowered = {candidate.lower(): candidate for candidate in known}
    wanted = name.lower()
    anagrams = [
        candidate
        for candidate in lowered
        if len(wanted) > 2 and sorted(candidate) == sorted(wanted)
    ]
    close = [] if wanted.isdecimal() else get_close_matches(wanted, lowered, n=n)
    containing = sorted(
        (candidate for candidate in lowered if len(wanted) > 2 and wanted in candidate), key=len
    )
    return [lowered[match] for match in dict.fromkeys([*anagrams, *close, *containing])][:n]
