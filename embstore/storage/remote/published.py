"""Read and write ``manifest.json``, which names the files of a store where they cannot be listed.

It is a complete manifest of a store at a URL, under a fixed name: web servers do not list their files, and a dataset
repository on the hub has versions of its own.
"""

import secrets
from collections.abc import Mapping

from embstore.base import atomic, documents
from embstore.base.errors import MissingObjectError, StoreError
from embstore.storage.remote.file_lists import RemoteFile, files_of, in_groups
from embstore.storage.remote.hub import HubObjects
from embstore.storage.remote.manifest import RemoteState, Writer, complete_document, parse, state_of
from embstore.storage.remote.objects import ObjectReader
from embstore.storage.remote.web import WebObjects

NAME = "manifest.json"
SCHEMES = ("hf", "https", "http")

PublishedObjects = WebObjects | HubObjects


def is_published(url: str) -> bool:
    """Return whether a URL is of a dataset repository or a web server, where a store is only read."""
    return url.partition("://")[0] in SCHEMES


def open_published(url: str) -> PublishedObjects:
    """Return the files at a URL.

    Raises:
        UsageError: The URL is no address of a store.
        RemoteError: huggingface_hub is required and not installed.
    """
    return HubObjects(url) if url.startswith("hf://") else WebObjects(url)


def read_latest(objects: PublishedObjects) -> RemoteState | None:
    """Return the store as it is now; None if there is none; errors: :func:`read_published`."""
    if isinstance(objects, HubObjects):
        objects.renew()
    return read_published(objects)


def read_published(objects: ObjectReader) -> RemoteState | None:
    """Return the store whose files a ``manifest.json`` names; None if there is none.

    Raises:
        DamagedError: The manifest was altered.
        StoreError: It is not a complete one.
        RemoteError: The server cannot be reached, or refuses.
    """
    try:
        data = objects.get(NAME, documents.MAX_BYTES["remote-manifest"])
    except MissingObjectError:
        return None
    return parse_published(data, f"{objects.url}/{NAME}")


def parse_published(data: bytes, place: str) -> RemoteState:
    """Return the store whose files the content of a ``manifest.json`` names; errors: :func:`read_published`."""
    document = parse(data, place)
    if not document["complete"] or "lists" in document:
        raise StoreError(f"{place} does not name all files of its store. Push the store again.")
    return state_of(document, in_groups(files_of(document["files"])))


def published_bytes(files: Mapping[str, RemoteFile], before: RemoteState | None) -> bytes:
    """Return the content of the ``manifest.json`` of some files.

    Args:
        files: Files by their paths in a store.
        before: State of the earlier copy at this place; None for the first.
    """
    nobody = Writer(secrets.token_hex(16), "", 0)  # the name of a machine is nobody's business
    document = complete_document(None, before.number + 1 if before else 1, files, nobody)
    document |= {"store": before.store if before else document["store"]}
    return atomic.checked_bytes(NAME, document, "remote-manifest", indent=None)
