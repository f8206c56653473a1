"""The interface of a local store: one partition's states, and the changelog offset that they correspond to.

A store is a cache of its topic. It may lose its newest writes together with their offset, or all of its
contents: both are restored from the topic. `streams/state/rocksdb.py` stores states on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

#: The least key of a state, as an account's name begins it; those before it are the stores' own.
FIRST_KEY = b"\x01"
#: The encoded state of each key; None deletes it.
Values = Mapping[bytes, bytes | None]


class StoreCorrupted(Exception):
    """A store was damaged, and is discarded: only a restart of the worker restores it from the topic."""


class StateStore(Protocol):
    """The states of one partition, encoded as in the changelog.

    Raises:
        StoreCorrupted: from any call but `close`; from then on, from each.
    """

    @property
    def offset(self) -> int | None:
        """The last changelog offset that is applied; None if the store is empty."""

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the states of the keys, in the same order."""

    def write(self, values: Values, offset: int | None) -> None:
        """Atomically write the values and the changelog offset they correspond to (None: unchanged)."""

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """Iterate over all keys and states, in pages; concurrent writes may or may not be seen."""

    def count(self) -> int:
        """Estimate the number of states."""

    def close(self) -> None:
        """Release all resources. The store must not be used afterwards."""


class MemoryStore:
    """A `StateStore` in a dictionary; restored from the changelog after each start and rebalance."""

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
        while page := list(islice(keys, size)):
            yield [(key, self._states[key]) for key in page if key in self._states]

    def count(self) -> int:
        return len(self._states)

    def close(self) -> None:
        self._states.clear()
