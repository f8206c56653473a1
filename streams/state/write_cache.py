"""States that were written lately, gathered in front of a store: most are asked for, or written, soon again.

A message's postbacks come seconds or minutes after each other, so what is gathered answers many of the loads,
and of several states of a message only the last goes down to the store. It goes together with its offset: a
kill loses both, and recovery reads them from the topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.state.store import StateStore, Values

#: Of keys and values, counted as often as they are written, until they go down.
DIRTY_BYTES = 8 * 2**20


class WriteCache:
    """A `streams.store.StateStore` in front of another, which it owns."""

    def __init__(self, below: StateStore, gathered_bytes: int = DIRTY_BYTES) -> None:
        self._below = below
        self._most = gathered_bytes
        self._gathered: dict[bytes, bytes | None] = {}
        self._bytes = 0
        #: That of the store below is older; null when it is not.
        self._offset: int | None = None

    @property
    def offset(self) -> int | None:
        return self._below.offset if self._offset is None else self._offset

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        gathered = self._gathered
        found = iter(self._below.load([key for key in keys if key not in gathered]))
        return [gathered[key] if key in gathered else next(found) for key in keys]

    def write(self, values: Values, offset: int | None) -> None:
        self._gathered.update(values)
        self._bytes += sum(len(key) + len(value or b"") for key, value in values.items())
        if offset is not None:
            self._offset = offset
        if self._bytes > self._most:
            self._hand_down()

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        self._hand_down()
        yield from self._below.scan(size)

    def count(self) -> int:
        return self._below.count() + len(self._gathered)

    def close(self) -> None:
        self._hand_down()
        self._below.close()

    def _hand_down(self) -> None:
        self._below.write(self._gathered, self._offset)
        self._gathered, self._bytes, self._offset = {}, 0, None
