"""Open the store that a command names, with the options of its URL."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embstore.errors import UsageError

if TYPE_CHECKING:
    from embstore.store import Store

_options: dict[str, str] = {}


def read_store_options(values: Sequence[str]) -> None:
    """Keep the values ``key=value`` of ``--store-option`` for the store that the command opens.

    Raises:
        UsageError: A value has no key.
    """
    _options.clear()
    for value in values:
        key, is_there, given = value.partition("=")
        if not (key and is_there):
            raise UsageError("--store-option takes key=value, as in --store-option region=eu-central-1.")
        _options[key] = given


def open_store(store: str | None) -> "Store":
    """Return the store of this folder or URL; by default ``$EMBSTORE_STORE``, else ``./store``."""
    from embstore.store import Store

    return Store(store, options=_options or None)
