"""The view `messages` against Python's join: both yield the same for any partial states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from typing import Any
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace
from pydantic import SecretStr

from gateway.postback import Receipt, Response
from gateway.submission import Submission
from runtime.clickhouse.client import open_client
from streams.join import join
from streams.merge import Event, merge, state_of
from streams.message import MESSAGES, Message, encode_message
from tests.support.postbacks import at, receipt, reply, sent
from tests.support.sinks import insert_values
from tests.support.submissions import events as any_event
from tests.support.submissions import submission


def insert(client: Any, states: Sequence[Message]) -> None:
    """Insert states as the sink does, in one insert."""
    insert_values(client, MESSAGES, map(encode_message, states))


def messages(client: Any, source: str = "messages", where: str = "1") -> list[Message]:
    """The rows of a view as messages, ordered by account and message_id."""
    rows = client.raw_query(
        f"SELECT * FROM {source} WHERE {where} ORDER BY account, toString(message_id)",
        fmt="JSONEachRow",
        settings={"date_time_output_format": "iso"},
    )
    return [json.decode(row, type=Message) for row in rows.splitlines()]


def guid(number: int) -> str:
    """Ids whose order as text differs from ClickHouse's order of UUIDs."""
    return str(UUID(int=((number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC834) % 2**128))


def parsed(postback: Event, message: int, parser: int) -> Event:
    """The postback with valid ids, and with fields of the same event that differ by version of the parser."""
    postback = replace(postback, message_id=guid(message))
    if isinstance(postback, Receipt):
        backup = guid(ord(postback.event_id[-1])) if postback.event_id[-1] in "567" else None
        return replace(postback, backup_message_id=backup if parser != 1 else None, text=f'{parser}"\\é\n')
    if isinstance(postback, Response):
        return replace(
            postback,
            reply_id=guid(ord(postback.event_id[-1])) if parser != 1 else None,
            text="!" * parser,
            occurred_at=at(parser) if parser else None,
        )
    if isinstance(postback, Submission):
        return replace(postback, queued=parser != 1)
    return replace(postback, occurred_at=at(parser) if parser else None)


postbacks = st.builds(parsed, any_event, st.integers(0, 2), st.integers(0, 2))
#: For each state: its events, the number of its insert, and the second of both marks, if any.
partial_states = st.lists(
    st.tuples(st.lists(postbacks, min_size=1, max_size=6), st.integers(0, 3), st.none() | st.integers(0, 40)),
    min_size=1,
    max_size=6,
)


def states_of(story: list[Event], mark: int | None) -> list[Message]:
    """The states that streams would write for these, one after the other per message."""
    written: list[Message] = []
    for message_id in {postback.message_id for postback in story}:
        own = [state_of(postback) for postback in story if postback.message_id == message_id]
        written += accumulate(own, join)
        if mark is not None:
            written.append(join(written[-1], replace(written[-1], overdue_at=at(mark), unsent_at=at(mark))))
    return written


@settings(max_examples=40)
@given(partial_states)
@example(
    [
        (
            [parsed(receipt(f"{n:03}", n % 7, code="000" if n == 129 else "777"), 0, 0) for n in range(130)],
            0,
            None,
        )
    ]
)
def test_partial_states_join_as_in_python(
    client: Any, story: list[tuple[list[Event], int, int | None]]
) -> None:
    client.command("TRUNCATE TABLE message_states")
    inserts: dict[int, list[Message]] = {}
    for events, number, mark in story:
        inserts.setdefault(number, []).extend(states_of(events, mark))
    for states in inserts.values():
        insert(client, states)
    known: dict[str, Message] = {}
    for state in (state for states in inserts.values() for state in states):
        known[state.message_id] = join(known[state.message_id], state) if state.message_id in known else state
    expected = [known[message_id] for message_id in sorted(known)]
    assert messages(client) == expected
    client.command("OPTIMIZE TABLE message_states FINAL")
    assert messages(client) == expected
    assert messages(client, f"messages_between(since = '{at(-9)[:19]}', until = '{at(99)[:19]}')") == expected


def fold(*events: Event) -> Message:
    state = reduce(merge, (parsed(event, 0, 0) for event in events), None)
    assert state is not None
    return state


def test_requests_of_one_submission_join_field_by_field(client: Any) -> None:
    insert(client, [fold(submission(second=1)), fold(submission(second=3, text="\U0001f600"))])
    insert(client, [fold(submission(second=2, scheduled_for=at(60), text="é", to_number="42"))])
    (message,) = messages(client)
    assert (message.status, message.text, message.scheduled_for) == ("submitted", "\U0001f600", at(60))
    assert (message.to_number, message.to_rank, message.submitted_at) == ("42", 3, at(1))


def test_messages_of_two_accounts_stay_separate(client: Any) -> None:
    ours, theirs = fold(sent()), fold(sent("s2", 1, ok=False, account="other"))
    insert(client, [ours, theirs])
    assert messages(client) == [ours, theirs]


def test_stale_state_after_fuller_one_loses_nothing(client: Any) -> None:
    full = fold(sent(), receipt(code="000", second=1))
    insert(client, [full])
    insert(client, [fold(sent())])
    assert messages(client) == [full]


def test_refusals_of_partial_states_are_counted_together(client: Any) -> None:
    insert(client, [fold(sent("x", ok=False), sent("y", 1, ok=False))])
    insert(client, [fold(sent("y", 1, ok=False), sent("z", 2, ok=False))])
    assert [message.status for message in messages(client)] == ["cancelled"]


def test_timely_receipt_merged_late_clears_overdue_mark(client: Any) -> None:
    overdue = replace(fold(sent(from_number="74121")), overdue_at=at(50))
    insert(client, [overdue])
    assert messages(client) == [overdue]
    insert(client, [fold(receipt(second=50))])
    assert [message.overdue_at for message in messages(client)] == [None]


def test_later_schedule_merged_late_clears_unsent_mark(client: Any) -> None:
    unsent = replace(fold(submission()), unsent_at=at(50))
    insert(client, [unsent])
    assert messages(client) == [unsent]
    later = fold(submission(scheduled_for=at(60)))
    insert(client, [later])
    assert [message.unsent_at for message in messages(client)] == [None]
    insert(client, [replace(later, unsent_at=at(90))])
    assert [message.unsent_at for message in messages(client)] == [at(90)]
    insert(client, [fold(sent(second=90))])
    assert [message.unsent_at for message in messages(client)] == [None]


def test_messages_between_filters_by_first_seen(client: Any) -> None:
    insert(client, [fold(sent("s1", 10)), replace(fold(sent("s2", 20)), message_id=guid(1))])
    between = f"messages_between(since = '{at(15)[:19]}', until = '{at(20)[:19]}')"
    assert messages(client, between) == []
    between = f"messages_between(since = '{at(15)[:19]}', until = '{at(21)[:19]}')"
    assert [message.message_id for message in messages(client, between)] == [guid(1)]


def test_messages_between_joins_states_from_before_range(client: Any) -> None:
    insert(client, [fold(receipt("r1", 3600 * 5))])
    insert(client, [fold(sent("s1", 0), receipt("r1", 3600 * 5))])
    late = f"messages_between(since = '{at(3600 * 4)[:19]}', until = '{at(3600 * 6)[:19]}')"
    assert messages(client, late) == []


def test_messages_by_reference_uses_joined_reference(client: Any) -> None:
    insert(client, [fold(reply(reference_id="from a reply"))])
    assert len(messages(client, "messages_by_reference(reference = 'from a reply')")) == 1
    insert(client, [fold(sent(reference_id="from the send"))])
    assert messages(client, "messages_by_reference(reference = 'from a reply')") == []
    assert [
        m.reference_id for m in messages(client, "messages_by_reference(reference = 'from the send')")
    ] == ["from the send"]


def test_python_client_reads_messages_without_submission(client: Any) -> None:
    """What is beneath a NULL must be in the type's range, too: clients convert it."""
    insert(client, [fold(sent())])
    (row,) = client.query("SELECT * FROM messages").named_results()
    assert (row["status"], row["unsent_at"]) == ("sent", None)


def test_views_work_from_another_current_database(client: Any, prepared_database: str) -> None:
    insert(client, [fold(sent())])
    name = prepared_database.rpartition("/")[2]
    with open_client(SecretStr(prepared_database), database="default") as other:
        assert len(messages(other, f"{name}.messages")) == 1
        assert len(messages(other, f"{name}.messages_by_reference(reference = '')")) == 1
        other.command(f"SYSTEM REFRESH VIEW {name}.funnel_hourly")


def test_funnel_counts_messages_by_hour_first_seen(client: Any) -> None:
    """The funnel's range ends now, so the postbacks are current."""
    hour = client.command("SELECT toStartOfHour(now('UTC'))").replace(" ", "T")

    def now(second: int) -> str:
        return f"{hour}.{second:03}Z"

    outbound = fold(
        sent(received_at=now(0)),
        receipt(code="003", received_at=now(1)),
        receipt("r2", code="000", received_at=now(2)),
    )
    refused = replace(fold(sent("s2", ok=False, received_at=now(0))), message_id=guid(1))
    inbound = replace(fold(reply("a9", matched=False, received_at=now(0))), message_id=guid(2))
    insert(client, [outbound, refused, inbound])
    insert(client, [outbound])
    client.command("SYSTEM REFRESH VIEW funnel_hourly")
    client.command("SYSTEM WAIT VIEW funnel_hourly")
    (row,) = client.query("SELECT * EXCEPT (hour, account) FROM funnel_hourly").named_results()
    assert row == {
        "messages": 2, "sent": 1, "carrier": 1, "delivered": 1, "failed": 0, "cancelled": 0, "replied": 0,
        "overdue": 0, "orphans": 0, "received": 1,
        "delivery_p50": 0.002, "delivery_p95": 0.002, "delivery_p99": 0.002,
    }  # fmt: skip


def test_tables_and_columns_have_comments(client: Any) -> None:
    uncommented = client.query(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = '' "
        "AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND engine NOT IN ('View') AND name NOT LIKE '.%')"
    ).result_rows
    assert uncommented == []
    uncommented = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = '' "
        "AND name NOT LIKE '.%'"
    ).result_rows
    assert uncommented == []


def test_view_has_exactly_the_fields_of_json(client: Any) -> None:
    columns = [name for name, *_ in client.query("DESCRIBE TABLE messages").result_rows]
    assert set(columns) == set(Message.__struct_fields__)


def test_lookup_by_message_id_reads_one_granule(client: Any) -> None:
    for _ in range(3):
        insert(client, [replace(fold(sent()), message_id=guid(n)) for n in range(20_000)])
    client.command("OPTIMIZE TABLE message_states FINAL")
    plan = client.command(f"EXPLAIN indexes = 1 SELECT * FROM messages WHERE message_id = '{guid(7)}'")
    granules = [line.split()[-1] for line in plan.splitlines() if "Granules:" in line]
    assert granules[-1].partition("/")[0] == "1", plan
