"""Describes a table to the rest of this package, which is the same for everything that can be joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

Headers = list[tuple[str, bytes]]
#: Joins a record's value into the state known so far (None: none). Returns the value itself if the join is no
#: more than that. Raises msgspec.DecodeError if the value is no state of this table.
Join = Callable[[bytes | None, bytes], bytes]


class Change(Struct, frozen=True, gc=False):
    """A record to write under some key: the new state, encoded (None: a tombstone), and the headers."""

    value: bytes | None
    headers: Headers


class TableSpec(NamedTuple):
    """A table of joined states."""

    #: Compacted; its partitions are those of the inputs.
    topic: str
    #: The topics that its states follow from.
    inputs: tuple[str, ...]
    #: Where its stores are, below the state directory.
    folder: str
    #: How much of the memory for write buffers they may use; the shares of all tables add up to 1.
    share: float
    join: Join
    #: The change that writes a state, or its absence, as it is.
    rewrite: Callable[[bytes | None], Change]
