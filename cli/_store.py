"""Open the store that a command names, with the options of its URL."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embstore.base.errors import UsageError

from ._errors import say

if TYPE_CHECKING:
    from embstore.store import Store
    from embstore.store.several import Stores

_BUCKETS = ("s3://", "gs://", "az://")

_options: dict[str, str] = {}
_is_quiet = False


def read_store_options(values: Sequence[str], *, quiet: bool = False) -> None:
    """Keep the values ``key=value`` of ``--store-option``, and ``--quiet``, for the store that the command opens."""
    global _is_quiet
    _is_quiet = quiet
    _options.clear()
    for value in values:
        key, is_there, given = value.partition("=")
        if not (key and is_there):
            raise UsageError("--store-option takes key=value, as in --store-option region=eu-central-1.")
        _options[key] = given


def open_store(store: str | None) -> "Store":
    """Return the store of this folder or URL; by default ``$EMBSTORE_STORE``, else ``./store``."""
    from embstore.store import Store

    return _noted(Store(store, options=_options or None))


def open_all(store: str | None, remedy: str) -> "Store":
    """Return the store of which a command reads each byte; of one at a URL, say how many it fetches, and a remedy."""
    from embstore.base.table import show_size

    found = open_store(store)
    if found.url is not None and not _is_quiet:
        size = show_size(found.remote_bytes())
        say(f"{found.url}: every byte is fetched and checked, {size}. To fetch less, {remedy}")
    return found


def open_stores(stores: Sequence[str] | None) -> "Store | Stores":
    """Return the store of the only folder or URL, or several stores; without any, that of :func:`open_store`."""
    names = list(dict.fromkeys(stores or ()))
    if len(names) < 2:
        return open_store(names[0] if names else None)
    from embstore.store import Store
    from embstore.store.several import Stores

    # --store-option is for those in a bucket.
    return Stores(name if not name.startswith(_BUCKETS) else Store(name, options=_options or None) for name in names)


def open_single(stores: Sequence[str] | None, what: str) -> "Store":
    """Return the only store; raise UsageError if several are named for something that is about one."""
    names = list(dict.fromkeys(stores or ()))
    if len(names) > 1:
        raise UsageError(f"{what} is about one store, and --store names {len(names)}. Keep one of them.")
    return open_store(names[0] if names else None)


def open_both(store: str | None, other: str) -> "tuple[Store, dict[str, str] | None]":
    """Return the store, and the options of the other place that a command copies to or from.

    ``--store-option`` is for each of the two that is in a bucket.
    """
    from embstore.store import Store

    own = store or os.environ.get("EMBSTORE_STORE") or ""
    for_own, for_other = own.startswith(_BUCKETS), other.startswith(_BUCKETS)
    is_for_own = for_own or not for_other  # without any bucket, the store refuses them
    return _noted(Store(store, options=(_options if is_for_own else None) or None)), _options if for_other else None


def _noted(store: "Store") -> "Store":
    """Say that a web server sends only whole files, unless the command is quiet; return the store."""
    if store.url is not None and store.url.startswith("http") and not _is_quiet and not store.has_ranges:
        say(f"{store.url}: the server does not send parts of files, so each file that is needed is fetched whole.")
    return store
