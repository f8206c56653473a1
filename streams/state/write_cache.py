"""A write-back cache in front of a store, for recently written states.

The postbacks of a message arrive within seconds or minutes of each other. So the cache answers many loads,
and of several versions of a state only the last reaches the store. States are flushed together with their
changelog offset: a kill loses both, and a restore reads them from the topic again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.state.store import StateStore, Values

#: Bytes of keys and values written since the last flush; each write of a key counts.
MAX_DIRTY_BYTES = 8 * 2**20


class WriteCache:
    """A `StateStore` in front of another one, which it owns and closes."""

    def __init__(self, backing: StateStore, max_dirty_bytes: int = MAX_DIRTY_BYTES) -> None:
        self._backing = backing
        self._max_dirty_bytes = max_dirty_bytes
        self._dirty: dict[bytes, bytes | None] = {}
        self._dirty_bytes = 0
        #: Offset of the dirty states; None while the backing store's is current.
        self._offset: int | None = None

    @property
    def offset(self) -> int | None:
        return self._backing.offset if self._offset is None else self._offset

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        dirty = self._dirty
        loaded = iter(self._backing.load([key for key in keys if key not in dirty]))
        return [dirty[key] if key in dirty else next(loaded) for key in keys]

    def write(self, values: Values, offset: int | None) -> None:
        self._dirty.update(values)
        self._dirty_bytes += sum(len(key) + len(value or b"") for key, value in values.items())
        if offset is not None:
            self._offset = offset
        if self._dirty_bytes > self._max_dirty_bytes:
            self._flush()

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        self._flush()
        yield from self._backing.scan(size)

    def count(self) -> int:
        return self._backing.count() + len(self._dirty)

    def close(self) -> None:
        self._flush()
        self._backing.close()

    def _flush(self) -> None:
        self._backing.write(self._dirty, self._offset)
        self._dirty, self._dirty_bytes, self._offset = {}, 0, None
