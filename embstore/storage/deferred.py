"""Mappings whose values are computed when they are first needed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Deferred(Mapping[K, V]):
    """Mapping of known keys, whose values are computed at their first use.

    Args:
        keys: Keys, in order.
        compute: Function that returns the value of a key.
    """

    def __init__(self, keys: Iterable[K], compute: Callable[[K], V]) -> None:
        self._keys, self._compute = dict.fromkeys(keys), compute
        self._values: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        if key not in self._values:
            if key not in self._keys:
                raise KeyError(key)
            self._values[key] = self._compute(key)
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
