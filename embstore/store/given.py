"""Tell the texts that a caller gives in Python from the names of sources."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embstore.base.errors import UsageError
from embstore.base.messages import is_command_line

Text = str | tuple[str, Mapping[str, Any]]
Names = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_MAX_NAMES = 20  # nobody misspells so many names of datasets at once
_REMEDY = "To embed these strings themselves, give them as texts=[…]"


def split_given(
    sources: Names | Iterable[Text] | None, texts: Iterable[Text] | None, default: Sequence[str]
) -> tuple[tuple[str, ...], Iterable[object] | None, str | None]:
    """Return the names of sources, the texts, and a note on how a list was understood.

    A list of strings is texts if none of them is, or resembles, the name of a source.
    """
    members_given = None if texts is None else _iterable(texts)
    if sources is None:
        return (tuple(default) if texts is None else ()), members_given, None
    if isinstance(sources, str | os.PathLike):
        return (os.fspath(sources),), members_given, None
    members = sources if isinstance(sources, list | tuple) else None
    if members is not None and all(isinstance(member, str | os.PathLike) for member in members):
        names = tuple(os.fspath(member) for member in members if isinstance(member, str | os.PathLike))
        if names and (is_command_line() or _are_names(names)):
            return names, members_given, None
        if not names and texts is not None:
            return (), members_given, None
    if texts is not None:
        raise UsageError("the texts are given twice, as sources and as texts=. Give them once.")
    note = None
    if members is not None and all(isinstance(member, str) for member in members):
        many = f"{len(members):,} strings were taken for texts, since none is the name"
        single = "string was taken for a text, since it is not the name"
        note = f"The {many if len(members) > 1 else single} of a dataset or file."
    return (), _iterable(sources), note


def _are_names(names: Sequence[str]) -> bool:
    """Return whether strings are names of sources; raise UsageError if only some of them are."""
    are_names = [_is_name(name, may_be_misspelt=len(names) <= _MAX_NAMES) for name in names]
    if any(are_names) and not all(are_names):
        name, text = names[are_names.index(True)], names[are_names.index(False)]
        raise UsageError(
            f"{name[:60]!r} is, or resembles, the name of a dataset or file, and {text[:60]!r} does not. {_REMEDY}; to "
            "build from sources, correct the name."
        )
    return any(are_names)


def _is_name(name: str, *, may_be_misspelt: bool) -> bool:
    """Return whether a string is, or resembles, the name of a source."""
    from embstore.base.errors import nearest
    from embstore.sources.datasets import find_dataset, known_datasets
    from embstore.sources.opening import is_known_type

    if name in ("", "-") or find_dataset(name) is not None:
        return True
    if any(character in name for character in "\n\0"):
        return False
    try:
        exists = Path(name).exists()
    except OSError:  # too long
        exists = False
    if exists or (not name[-1].isspace() and " " not in name and is_known_type(name)):
        return True
    return may_be_misspelt and bool(nearest(name.partition(":")[0], known_datasets(), n=1, by_part=False))


def _iterable(texts: Any) -> Iterable[object]:
    """Return texts as an iterable of them; raise UsageError for what is none."""
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, Mapping | bytes) or (hasattr(texts, "to_dict") and hasattr(texts, "columns")):
        raise UsageError(
            f"texts cannot be a {type(texts).__name__}. Give an iterable of strings, or of pairs of a string and its "
            'columns: zip(frame["text"], frame[["pos"]].to_dict("records")).'
        )
    if not isinstance(texts, Iterable):
        raise UsageError(f"texts must be an iterable of strings, not of type {type(texts).__name__}.")
    return texts
