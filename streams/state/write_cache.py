"""A write-back cache in front of a store, for recently written states.

The postbacks of a message arrive within seconds or minutes of each other. So the cache answers many loads,
and of several versions of a state only the last reaches the store. States are flushed together with their
changelog offset: a kill loses both, and a restore reads them from the topic again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from streams.state.store import StateStore, StoreCorrupted, Values

#: Of all caches of a worker, and of one of them: a flush blocks the event loop meanwhile.
BUDGET_BYTES, CACHE_BYTES = 80 * 2**20, 10 * 2**20
#: Bytes that Python needs for an entry beside its key and value.
ENTRY_BYTES = 160


class CacheBudget:
    """Limits the bytes of all caches of a worker together: while they exceed it, the largest is flushed."""

    def __init__(self, max_bytes: int = BUDGET_BYTES) -> None:
        self._max_bytes = max_bytes
        self._caches: set[WriteCache] = set()

    def add(self, cache: WriteCache) -> None:
        self._caches.add(cache)

    def remove(self, cache: WriteCache) -> None:
        self._caches.discard(cache)

    def enforce(self) -> None:
        """Flush as much as necessary.

        Raises:
            StoreCorrupted: the store behind one of the caches is damaged.
        """
        while sum(cache.dirty_bytes for cache in self._caches) > self._max_bytes:
            max(self._caches, key=lambda cache: cache.dirty_bytes).flush()


class WriteCache:
    """A `StateStore` in front of another one, which it owns and closes."""

    def __init__(self, backing: StateStore, budget: CacheBudget) -> None:
        self._backing = backing
        self._budget = budget
        self._dirty: dict[bytes, bytes | None] = {}
        #: Written since the last flush; each write of a key counts.
        self.dirty_bytes = 0
        #: Offset of the dirty states; None while the backing store's is current.
        self._offset: int | None = None
        budget.add(self)

    @property
    def offset(self) -> int | None:
        return self._backing.offset if self._offset is None else self._offset

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        dirty = self._dirty
        loaded = iter(self._backing.load([key for key in keys if key not in dirty]))
        return [dirty[key] if key in dirty else next(loaded) for key in keys]

    def write(self, values: Values, offset: int | None) -> None:
        self._dirty.update(values)
        self.dirty_bytes += ENTRY_BYTES * len(values)
        self.dirty_bytes += sum(len(key) + len(value or b"") for key, value in values.items())
        if offset is not None:
            self._offset = offset
        if self.dirty_bytes > CACHE_BYTES:
            self.flush()
        self._budget.enforce()

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        self.flush()
        yield from self._backing.scan(size)

    def count(self) -> int:
        return self._backing.count() + len(self._dirty)

    def flush(self) -> None:
        """Write the dirty states to the backing store."""
        self._backing.write(self._dirty, self._offset)
        self._dirty, self.dirty_bytes, self._offset = {}, 0, None

    def close(self) -> None:
        self._budget.remove(self)
        with suppress(StoreCorrupted):
            self.flush()
        self._backing.close()
