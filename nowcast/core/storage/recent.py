"""What was read last, kept in memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values that were asked for last, up to a number of bytes, and at least one.

    Args:
        most: bytes.
        size: the bytes of a value.
    """

    def __init__(self, most: int, size: Callable[[Value], int]) -> None:
        self._most = most
        self._size = size
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, read: Callable[[], Value]) -> Value:
        """The value of a key, read if it is not kept; what `read` raises goes through."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        value = read()
        self._kept[key] = value
        self._bytes += self._size(value)
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._size(self._kept.popitem(last=False)[1])
        return value
