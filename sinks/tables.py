"""Which topic goes into which table, and the fields that hold a record's coordinates.

Values are JSON objects whose fields are the table's columns; `sinks/rows.py` adds the coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.postback import POSTBACK_TOPICS
from gateway.rejected import REJECTED
from gateway.submission import SUBMISSIONS
from streams.auto_response import AUTO_RESPONSES
from streams.contact import CONTACTS, Contact
from streams.message import MESSAGES, Message


@dataclass(frozen=True)
class Table:
    """A table that rows are inserted into."""

    name: str
    #: Replaces a value's closing brace; a format of `cluster`, `topic`, `partition` and `offset`.
    suffix: str = ',"cluster":%(cluster)s,"topic":%(topic)s,"partition":%(partition)d,"offset":%(offset)d}\n'
    #: The fields to insert; empty: all that the table has columns for.
    fields: tuple[str, ...] = ()
    #: Whether records without a value are tombstones, which are not inserted.
    tombstones: bool = False


#: Fields of a message that ClickHouse derives from all its states.
DERIVED_FIELDS = {"status", "backup_message_ids", "orphan"}

POSTBACKS = Table("postbacks")
SUBMITTED = Table("submissions")
MESSAGE_STATES = Table(
    "message_states",
    fields=(*(field for field in Message.__struct_fields__ if field not in DERIVED_FIELDS), "cluster"),
    tombstones=True,
)
CONTACT_STATES = Table("contact_states", fields=(*Contact.__struct_fields__, "cluster"), tombstones=True)
DECISIONS = Table("auto_responses")
#: The columns `topic`, `partition` and `offset` are those of the rejected record, not of the rejection's.
REJECTIONS = Table(
    "rejected", suffix=',"cluster":%(cluster)s,"records":[{"partition":%(partition)d,"offset":%(offset)d}]}\n'
)

TABLES = (POSTBACKS, SUBMITTED, MESSAGE_STATES, CONTACT_STATES, DECISIONS, REJECTIONS)
TABLE_OF = {
    **dict.fromkeys(POSTBACK_TOPICS, POSTBACKS),
    SUBMISSIONS: SUBMITTED,
    REJECTED: REJECTIONS,
    MESSAGES: MESSAGE_STATES,
    CONTACTS: CONTACT_STATES,
    AUTO_RESPONSES: DECISIONS,
}
