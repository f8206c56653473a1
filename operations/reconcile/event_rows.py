"""The records of events about a message, from the tables that store them, as SQL. Pure."""

from __future__ import annotations

#: The tables of events, and the type of their rows' events as an expression.
_TYPES = {"postbacks": "toString(type)", "submissions": "'submission'"}
#: Which facts of a message an event of a type is one of.
FACTS_OF = {
    "sent": "attempts",
    "receipt": "receipts",
    "response": "replies",
    "submission": "submissions",
}


def event_rows(where: str) -> str:
    """A subquery for all of them for which the condition is true, which each table can use its indices for.

    Columns: account, message_id (Nullable), type, event_id, received_at, and the record's coordinates.
    """
    rows = " UNION ALL ".join(
        f"SELECT account, message_id, {type} AS type, event_id, received_at, cluster, topic, `partition`, "
        f"`offset` FROM {table} WHERE message_id IS NOT NULL AND {where}"
        for table, type in _TYPES.items()
    )
    return f"({rows})"
