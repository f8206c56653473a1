"""The chain that a message is in, from ClickHouse: only messages linked with it are read."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.postback import Guid
from operations.message_chain import MAX_RETRIES, ChainPosition, LinkedMessage, chain_position
from operations.rows import Query, array, read_rows
from runtime.clickhouse.sql import quote

#: Ids that are looked up for one message at most. Receipts may name anything: a backup may be that of many.
MAX_LINKED = 1000


def find_chain(query: Query, account: str, message_id: Guid) -> ChainPosition | None:
    """Where the message is in its chain, or None if it is in none.

    The chain is that of the view `message_chains`, unless more than MAX_LINKED ids are linked with it.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    found: dict[Guid, LinkedMessage] = {}
    known: set[Guid] = set()
    unread = {message_id}
    # From the last message of a chain to the first one, and from there to the ends of its other branches.
    for _ in range(2 * MAX_RETRIES + 1):
        if not unread:
            break
        known |= unread
        for row in read_rows(query, LinkedMessage, _linked_sql(account, sorted(unread))):
            found[row.message_id] = row
            unread |= {row.message_id, *row.backup_message_ids}
        unread = set(sorted(unread - known)[: MAX_LINKED - len(known)])
    return chain_position(found.values(), message_id)


def _linked_sql(account: str, message_ids: Iterable[Guid]) -> str:
    """Selects these messages, and those that name one of them as their backup: the first seen ones."""
    ids = array(f"toUUID({quote(each)})" for each in message_ids)
    return (
        f"SELECT {', '.join(LinkedMessage.__struct_fields__)} FROM messages "
        f"WHERE account = {quote(account)} AND message_id IN (SELECT arrayJoin({ids}) UNION ALL "
        f"SELECT message_id FROM (SELECT message_id FROM message_states WHERE account = {quote(account)} "
        f"AND hasAny(backups, {ids}) ORDER BY first_seen_at LIMIT {MAX_LINKED}))"
    )
