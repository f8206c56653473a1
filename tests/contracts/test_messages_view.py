"""The view `messages` against Python's join: whatever partial states are inserted, both know the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import accumulate
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace
from pydantic import SecretStr

from gateway.postback import AnyPostback, Receipt, Response
from runtime.clickhouse.client import INSERT_SETTINGS, query_client
from sinks.migrate import migrate
from sinks.rows import splice
from sinks.tables import MESSAGE_STATES
from streams.message import MESSAGES, Message, encode_message, join, merge, state_of
from tests.support.postbacks import at, receipt, reply, sent
from tests.support.postbacks import postbacks as any_postback
from tests.support.records import FakeRecord


@pytest.fixture
def client(database: str) -> Iterator[Any]:
    migrate(SecretStr(database))
    with query_client(SecretStr(database)) as client:
        yield client


def insert(client: Any, states: Sequence[Message]) -> None:
    """As the sink does, in one insert."""
    records = [
        FakeRecord(MESSAGES, offset=offset, value=encode_message(state))
        for offset, state in enumerate(states)
    ]
    client.raw_insert(
        MESSAGE_STATES.name,
        column_names=MESSAGE_STATES.fields,
        insert_block=splice(MESSAGE_STATES.tail, "cluster", records),
        settings=INSERT_SETTINGS,
        fmt="JSONEachRow",
    )


def messages(client: Any, source: str = "messages", where: str = "1") -> list[Message]:
    """The rows of a view, in the order of message_id, read as what they claim to be."""
    rows = client.raw_query(
        f"SELECT * FROM {source} WHERE {where} ORDER BY account, toString(message_id)",
        fmt="JSONEachRow",
        settings={"date_time_output_format": "iso"},
    )
    return [json.decode(row, type=Message) for row in rows.splitlines()]


def guid(number: int) -> str:
    """Ids whose order as text is another one than ClickHouse's order of UUIDs."""
    return str(UUID(int=((number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC834) % 2**128))


def told(postback: AnyPostback, message: int, telling: int) -> AnyPostback:
    """With ids as the gateway lets them through; another telling of the same event is another parser's."""
    postback = replace(postback, message_id=guid(message))
    if isinstance(postback, Receipt):
        backup = guid(ord(postback.event_id[-1])) if postback.event_id[-1] in "567" else None
        return replace(postback, backup_message_id=backup if telling != 1 else None, text=f'{telling}"\\é\n')
    if isinstance(postback, Response):
        return replace(
            postback,
            reply_id=guid(ord(postback.event_id[-1])) if telling != 1 else None,
            text="!" * telling,
            occurred_at=at(telling) if telling else None,
        )
    return replace(postback, occurred_at=at(telling) if telling else None)


postbacks = st.builds(told, any_postback, st.integers(0, 2), st.integers(0, 2))
#: Which postbacks make a state, in which insert that is, and until when it is marked overdue, if at all.
partial_states = st.lists(
    st.tuples(st.lists(postbacks, min_size=1, max_size=6), st.integers(0, 3), st.none() | st.integers(0, 40)),
    min_size=1,
    max_size=6,
)


def states_of(story: list[AnyPostback], mark: int | None) -> list[Message]:
    """All that streams would write for these, of each message, one state after the other."""
    written: list[Message] = []
    for message_id in {postback.message_id for postback in story}:
        own = [state_of(postback) for postback in story if postback.message_id == message_id]
        written += accumulate(own, join)
        if mark is not None:
            written.append(join(written[-1], replace(written[-1], overdue_at=at(mark))))
    return written


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(partial_states)
@example(
    [
        (
            [told(receipt(f"{n:03}", n % 7, code="000" if n == 129 else "777"), 0, 0) for n in range(130)],
            0,
            None,
        )
    ]
)
def test_partial_states_in_any_number_of_inserts_join_as_in_python(
    client: Any, story: list[tuple[list[AnyPostback], int, int | None]]
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


def fold(*events: AnyPostback) -> Message:
    state = reduce(merge, (told(event, 0, 0) for event in events), None)
    assert state is not None
    return state


def test_messages_of_two_accounts_never_meet(client: Any) -> None:
    ours, theirs = fold(sent()), fold(sent("s2", 1, ok=False, account="other"))
    insert(client, [ours, theirs])
    assert messages(client) == [ours, theirs]


def test_a_stale_state_after_a_fuller_one_takes_nothing_away(client: Any) -> None:
    full = fold(sent(), receipt(code="000", second=1))
    insert(client, [full])
    insert(client, [fold(sent())])
    assert messages(client) == [full]


def test_the_refusals_of_states_that_know_nothing_of_each_other_are_counted_together(client: Any) -> None:
    insert(client, [fold(sent("x", ok=False), sent("y", 1, ok=False))])
    insert(client, [fold(sent("y", 1, ok=False), sent("z", 2, ok=False))])
    assert [message.status for message in messages(client)] == ["cancelled"]


def test_a_receipt_that_lagged_takes_the_mark_of_being_overdue_back(client: Any) -> None:
    overdue = replace(fold(sent(from_number="74121")), overdue_at=at(50))
    insert(client, [overdue])
    assert messages(client) == [overdue]
    insert(client, [fold(receipt(second=50))])
    assert [message.overdue_at for message in messages(client)] == [None]


def test_messages_between_sees_first_seen_in_the_range_alone(client: Any) -> None:
    insert(client, [fold(sent("s1", 10)), replace(fold(sent("s2", 20)), message_id=guid(1))])
    between = f"messages_between(since = '{at(15)[:19]}', until = '{at(20)[:19]}')"
    assert messages(client, between) == []
    between = f"messages_between(since = '{at(15)[:19]}', until = '{at(21)[:19]}')"
    assert [message.message_id for message in messages(client, between)] == [guid(1)]


def test_messages_between_joins_a_state_that_began_hours_before_the_range(client: Any) -> None:
    insert(client, [fold(receipt("r1", 3600 * 5))])
    insert(client, [fold(sent("s1", 0), receipt("r1", 3600 * 5))])
    late = f"messages_between(since = '{at(3600 * 4)[:19]}', until = '{at(3600 * 6)[:19]}')"
    assert messages(client, late) == []


def test_a_reference_finds_its_messages_by_what_all_states_say_together(client: Any) -> None:
    insert(client, [fold(reply(reference_id="from a reply"))])
    assert len(messages(client, "messages_by_reference(reference = 'from a reply')")) == 1
    insert(client, [fold(sent(reference_id="from the send"))])
    assert messages(client, "messages_by_reference(reference = 'from a reply')") == []
    assert [
        m.reference_id for m in messages(client, "messages_by_reference(reference = 'from the send')")
    ] == ["from the send"]


def test_the_views_work_from_whatever_database_one_is_in(client: Any, database: str) -> None:
    insert(client, [fold(sent())])
    name = database.rpartition("/")[2]
    with query_client(SecretStr(database), database="default") as elsewhere:
        assert len(messages(elsewhere, f"{name}.messages")) == 1
        assert len(messages(elsewhere, f"{name}.messages_by_reference(reference = '')")) == 1
        elsewhere.command(f"SYSTEM REFRESH VIEW {name}.funnel_hourly")


def test_the_funnel_counts_messages_by_the_hour_they_were_first_seen(client: Any) -> None:
    """Its range ends now, so the postbacks are of now."""
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


def test_every_column_of_every_table_says_what_it_is(client: Any) -> None:
    silent = client.query(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = '' "
        "AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND engine NOT IN ('View') AND name NOT LIKE '.%')"
    ).result_rows
    assert silent == []
    silent = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = '' "
        "AND name NOT LIKE '.%'"
    ).result_rows
    assert silent == []


def test_the_view_has_the_fields_of_the_json_and_no_others(client: Any) -> None:
    columns = [name for name, *_ in client.query("DESCRIBE TABLE messages").result_rows]
    assert set(columns) == set(Message.__struct_fields__)


def test_one_message_is_found_without_reading_the_others(client: Any) -> None:
    for _ in range(3):
        insert(client, [replace(fold(sent()), message_id=guid(n)) for n in range(20_000)])
    client.command("OPTIMIZE TABLE message_states FINAL")
    plan = client.command(f"EXPLAIN indexes = 1 SELECT * FROM messages WHERE message_id = '{guid(7)}'")
    granules = [line.split()[-1] for line in plan.splitlines() if "Granules:" in line]
    assert granules[-1].partition("/")[0] == "1", plan
