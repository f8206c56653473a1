"""What correlating functions take and return: records, changes, and what is appended elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway.rejected import Rejected
from streams.state.spec import Change


class Record(Protocol):
    """The attributes of a Kafka record that are used here; `timestamp` in milliseconds."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Appended(NamedTuple):
    """A record for another topic."""

    topic: str
    key: bytes
    value: bytes


class Correlated(NamedTuple):
    """What follows from some records."""

    #: By key.
    changes: dict[bytes, Change]
    #: The records that are no events of their topic.
    rejected: list[Rejected]
    appended: list[Appended]


class Correlate(Protocol):
    """Merges records of one input into states: pure, and any order of the records yields the same states."""

    def __call__(
        self,
        cluster: str,
        topic: str,
        partition: int,
        records: Mapping[bytes, Sequence[Record]],
        known: Sequence[bytes | None],
        now: datetime,
    ) -> Correlated:
        """Merge the records of each key into its state, and return the states that changed.

        Args:
            topic: the input topic that all records come from.
            known: the encoded states of the keys, in the same order.
            now: the time of rejections whose record has no credible timestamp.

        Raises:
            NewerVersion: the format of a state is newer than this code.
        """


def group_by_key(records: Iterable[Record]) -> dict[bytes, list[Record]]:
    """Group records by key. Records without one get the empty key, which no state has."""
    groups: dict[bytes, list[Record]] = {}
    for record in records:
        groups.setdefault(record.key or b"", []).append(record)
    return groups
