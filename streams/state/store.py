"""Where the states of one partition are kept, with the offset of `messages` that they are at.

The topic is the log, a store is its cache: it may lose its newest writes together with their offset, or be
thrown away whole, and is then filled from the topic again. `streams/state/rocksdb.py` keeps one on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

#: Of each key its encoded state, or None: forget it.
Values = Mapping[bytes, bytes | None]


class StateStore(Protocol):
    """The states of one partition, as they stand in `messages`."""

    @property
    def offset(self) -> int | None:
        """All records of the log up to this offset are in; null when none is."""

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The states of these keys, in their order."""

    def write(self, values: Values, offset: int | None) -> None:
        """Take over the values, and the offset that the log is in up to then (null: as before), at once."""

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """All keys with their states, in portions; what is written meanwhile may be in or not."""

    def count(self) -> int:
        """How many states there are, roughly."""

    def close(self) -> None:
        """Give everything back; nothing may be called after that."""


class MemoryStore:
    """In a dictionary: gone when the partition or the process goes."""

    def __init__(self) -> None:
        self._states: dict[bytes, bytes] = {}
        self._offset: int | None = None

    @property
    def offset(self) -> int | None:
        return self._offset

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return list(map(self._states.get, keys))

    def write(self, values: Values, offset: int | None) -> None:
        for key, value in values.items():
            if value is None:
                self._states.pop(key, None)
            else:
                self._states[key] = value
        if offset is not None:
            self._offset = offset

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        keys = iter(list(self._states))
        while portion := list(islice(keys, size)):
            yield [(key, self._states[key]) for key in portion if key in self._states]

    def count(self) -> int:
        return len(self._states)

    def close(self) -> None:
        self._states.clear()
