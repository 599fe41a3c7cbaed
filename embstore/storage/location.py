"""Open the files of a store by its folder or URL."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from embstore.base.errors import UsageError
from embstore.base.keywords import StrPath
from embstore.storage.cache import StoreFiles

HUB_PREFIX = "hf://"
WEB_PREFIXES = ("https://", "http://")


def is_url(location: str) -> bool:
    """Return whether a location is a URL, not a folder."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", location) is not None and not os.path.isdir(
        location
    )


def open_files(location: StrPath, options: Mapping[str, str] | None = None) -> StoreFiles:
    """Return the files of the store in a folder or at a URL, which need not exist.

    Args:
        location: Folder, ``s3://bucket/prefix``, ``gs://…``, ``az://…``, ``https://host/path``, or
            ``hf://datasets/owner/name`` with ``@revision`` or without.
        options: Options of the client of a bucket.

    Raises:
        UsageError: It is a URL of another kind; or options are given for something else than a
            bucket.
    """
    place = os.fspath(location)
    if not is_url(place):
        if options:
            raise UsageError(
                f"{place} is a folder, and options are for stores at URLs. Leave them out."
            )
        return StoreFiles.of_folder(Path(place))
    if not place.startswith((HUB_PREFIX, *WEB_PREFIXES)):
        from embstore.storage.bucket import Bucket

        return StoreFiles(Bucket(place, options))
    if options:
        raise UsageError(f"{place} takes no options.")
    from embstore.storage.web import Hub, Web

    return StoreFiles(Hub(place) if place.startswith(HUB_PREFIX) else Web(place))
