"""Store: the object that users and the command line work with."""

from types import FunctionType

from embstore.base.keywords import checked
from embstore.base.table import Table
from embstore.store.building import DEFAULT_MODELS, DEFAULT_SOURCES
from embstore.store.features import FeatureMethods
from embstore.store.interop import InteropMethods
from embstore.store.maintenance import MaintenanceMethods
from embstore.store.result import Result

__all__ = ["DEFAULT_MODELS", "DEFAULT_SOURCES", "Result", "Store", "Table"]


class Store(MaintenanceMethods, InteropMethods, FeatureMethods):
    """A store of embeddings: the vectors of words, sentences and occurrences at every layer.

    Each call answers from one state of the store: the last one that any process has committed
    before the call. Of a store at a URL it is the state at the first query; :meth:`refresh` lets
    the next one look again. Several threads may use it at once.

    Args:
        path: Folder of the store, or its URL (``s3://bucket/prefix``, ``gs://…``, ``az://…``); by
            default ``$EMBSTORE_STORE``, else ``./store``.
        options: Options of the client for a store at a URL, such as
            ``{"endpoint": "https://…", "region": "…"}``; credentials come from the environment.
    """


for _methods in Store.__mro__[1:-1]:
    for _name, _method in [*vars(_methods).items()]:
        if isinstance(_method, FunctionType):  # errors name it so
            _method.__qualname__ = f"Store.{_method.__name__}"
            if not _name.startswith("_"):
                setattr(_methods, _name, checked(_method))
