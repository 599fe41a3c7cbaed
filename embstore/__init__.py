"""Store the vectors of every layer of language models, computed once and queried without a model.

from embstore import Store

store = Store("store")
store.query("anisotropy", models=["minilm"]).to_pandas()
"""

from typing import TYPE_CHECKING, Any

from embstore.base import __version__
from embstore.base import errors as errors
from embstore.base.errors import EmbstoreError

if TYPE_CHECKING:
    from embstore.store import Result, Store, Table

__all__ = ["EmbstoreError", "Result", "Store", "Table", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("Result", "Store", "Table"):
        from embstore import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
