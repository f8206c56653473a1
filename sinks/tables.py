"""Which topic goes into which table, and under which names a row learns where its record stands.

Values are JSON objects whose fields are the table's columns; `sinks/rows.py` adds the coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.postback import POSTBACK_TOPICS, REJECTED
from streams.message import MESSAGES, Message


@dataclass(frozen=True)
class Table:
    """A table that rows go into."""

    name: str
    #: What takes the place of a value's last brace: a format of `cluster`, `topic`, `partition`, `offset`.
    tail: str = ',"cluster":%(cluster)s,"topic":%(topic)s,"partition":%(partition)d,"offset":%(offset)d}\n'
    #: The fields that are inserted; empty: all that are columns.
    fields: tuple[str, ...] = ()
    #: Whether a record without a value is a tombstone, which says nothing of the past.
    tombstones: bool = False


#: Fields of a message that ClickHouse concludes itself, from all the states of it.
DERIVED_FIELDS = {"status", "backup_message_ids", "orphan"}

POSTBACKS = Table("postbacks")
MESSAGE_STATES = Table(
    "message_states",
    fields=(*(field for field in Message.__struct_fields__ if field not in DERIVED_FIELDS), "cluster"),
    tombstones=True,
)
#: Its own `topic`, `partition` and `offset` are those of the record that was rejected.
REJECTIONS = Table(
    "rejected", tail=',"cluster":%(cluster)s,"records":[{"partition":%(partition)d,"offset":%(offset)d}]}\n'
)

TABLES = (POSTBACKS, MESSAGE_STATES, REJECTIONS)
TABLE_OF = {**dict.fromkeys(POSTBACK_TOPICS, POSTBACKS), REJECTED: REJECTIONS, MESSAGES: MESSAGE_STATES}
