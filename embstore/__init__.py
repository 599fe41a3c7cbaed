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
    from embstore.base.table import Table
    from embstore.store import Store
    from embstore.store.several import Stores

__all__ = ["EmbstoreError", "Store", "Stores", "Table", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Store":
        from embstore.store import Store

        return Store
    if name == "Stores":
        from embstore.store.several import Stores

        return Stores
    if name == "Table":
        from embstore.base.table import Table

        return Table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
