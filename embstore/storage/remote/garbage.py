"""Delete the objects of a store at a URL that no manifest of the last day names."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from embstore.storage.remote import file_lists, manifest
from embstore.storage.remote.objects import ObjectStore

KEPT = timedelta(days=1)
"""How long readers of an old manifest may go on."""

FOLDERS = (
    "items", "columns", "skipped", "spaces", "datasets", "embeddings", "summaries", "indexes", "maps", "merged",
    "probes", file_lists.FOLDER,
)  # fmt: skip


def collect(objects: ObjectStore, now: datetime) -> list[str]:
    """Delete what nothing refers to, and return the keys; the caller is the only writer.

    An object stays if it was written within a day, or if a manifest names it that was the newest within a day.

    Args:
        objects: Objects of the store.
        now: Time by the server's clock.
    """
    numbers = manifest.list_numbers(objects)
    documents = {number: manifest.whole(objects, number) for number in sorted(numbers)}
    whole = [number for number, document in documents.items() if document is not None]
    # A manifest was the newest until the next one was created.
    recent = [number for number, later in pairwise(whole) if numbers[later].modified > now - KEPT]
    needed = {number for start in [*recent, *whole[-1:]] for number in _chain(documents, start)}
    named = {key for number in needed if (document := documents[number]) for key in _keys(document)}
    lists = {
        (group, each)
        for number in needed
        if (document := documents[number])
        for group, each in file_lists.lists_of(document).items()
    }
    for group, each in lists:
        named |= {each.key, *(file.key for file in manifest.read_list(objects, group, each).values())}
    garbage = [
        found.key
        for folder in FOLDERS
        for found in objects.list(folder)
        if found.key not in named and found.modified < now - KEPT
    ]
    objects.delete(garbage)
    old = [number for number in sorted(numbers) if number not in needed and numbers[number].modified < now - KEPT]
    objects.delete([manifest.key_of(number) for number in old])
    return garbage


def _keys(document: dict[str, Any]) -> Iterable[str]:
    """Return the keys of the objects that a manifest names itself."""
    return (file.key for file in file_lists.files_of(document["files"]).values())


def _chain(documents: dict[int, dict[str, Any] | None], number: int) -> list[int]:
    """Return the number of a manifest, and of those that it is a change of."""
    found = [number]
    while (document := documents.get(found[-1])) is not None and not document["complete"]:
        found.append(document["parent"]["number"])
    return [each for each in found if each in documents]
