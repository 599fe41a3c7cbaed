"""Store the vectors of every layer of language models, computed once and queried without a model.

from embstore import Store

store = Store("store")
store.query("anisotropy", models=["minilm"]).to_pandas()
"""

from typing import TYPE_CHECKING, Any

from embstore.errors import EmbstoreError

if TYPE_CHECKING:
    from embstore.store import Store
    from embstore.store.several import Stores
    from embstore.table import Table

__version__ = "0.2.0"
__all__ = ["EmbstoreError", "Store", "Stores", "Table", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Store":
        from embstore.store import Store

        return Store
    if name == "Stores":
        from embstore.store.several import Stores

        return Stores
    if name == "Table":
        from embstore.table import Table

        return Table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
