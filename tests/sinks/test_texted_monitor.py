"""One sink counts the texts of the last day after opt-outs and in quiet hours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from gateway.postback import format_time
from runtime.clickhouse.client import open_client
from sinks.texted_monitor import COUNTS, TextedMonitor
from streams.contact import CONTACTS, encode_contact, merge_contact
from streams.merge import state_of
from streams.message import MESSAGES, encode_message
from tests.support.contact_events import contact_event
from tests.support.postbacks import START, sent
from tests.support.sinks import insert_values, open_sink

NUMBER = "7575550100"
AFTER_STOP = "postbacks_sinks_texted_after_stop_messages"
QUIET_HOURS = "postbacks_sinks_texted_in_quiet_hours_messages"
#: Of Norfolk, where it was 7 o'clock in the morning.
LATER = START + timedelta(minutes=30)
DAY = timedelta(days=1)


@pytest.fixture
def client(prepared_database: str) -> Iterator[Any]:
    with open_client(SecretStr(prepared_database)) as client:
        yield client
    for gauge in COUNTS:
        gauge.clear()


def insert(client: Any, opted_out: datetime, *texted: datetime, account: str = "acme") -> None:
    texts = (
        sent(
            account=account,
            message_id=f"00000000-0000-4000-8000-{n:012x}",
            to_number=NUMBER,
            occurred_at=format_time(when),
            received_at=format_time(when),
        )
        for n, when in enumerate(texted)
    )
    told = contact_event(account=account, occurred_at=format_time(opted_out))
    insert_values(client, MESSAGES, map(encode_message, map(state_of, texts)))
    insert_values(client, CONTACTS, [encode_contact(merge_contact(None, told))])


def counts(account: str = "acme") -> list[float | None]:
    return [REGISTRY.get_sample_value(gauge, {"account": account}) for gauge in (AFTER_STOP, QUIET_HOURS)]


def monitor(setting: str) -> TextedMonitor:
    return TextedMonitor(SecretStr(setting), "account", False, lambda: True)


async def test_texts_of_the_last_day_are_counted(client: Any, prepared_database: str) -> None:
    insert(client, START - 9 * DAY, START - 2 * DAY, START, START + timedelta(hours=4))
    insert(client, START + DAY, START, account="other")
    watched = monitor(prepared_database)
    await watched.poll(LATER)
    assert (counts(), counts("other")) == ([1, 1], [0, 1])
    await watched.poll(LATER + DAY)
    assert (counts(), counts("other")) == ([1, 0], [0, 0])


async def test_failed_count_leaves_the_last_one(client: Any, prepared_database: str) -> None:
    insert(client, START - DAY, START)
    watched = monitor(prepared_database)
    await watched.poll(LATER)
    client.command("DROP VIEW texted_in_quiet_hours_between")
    await watched.poll(LATER + DAY)
    assert counts() == [1, 1]


async def test_owner_alone_counts_every_five_minutes(client: Any, prepared_database: str) -> None:
    insert(client, START - DAY, START)
    owns = False
    watched = TextedMonitor(SecretStr(prepared_database), "account", False, lambda: owns)
    await watched.poll(LATER)
    assert counts() == [None, None]
    owns = True
    await watched.poll(LATER)
    assert counts() == [1, 1]
    client.command("TRUNCATE TABLE contact_states")
    await watched.poll(LATER + timedelta(minutes=4))
    assert counts() == [1, 1]
    await watched.poll(LATER + timedelta(minutes=5))
    assert counts() == [0, 1]
    owns = False
    await watched.poll(LATER + timedelta(minutes=5))
    assert counts() == [None, None]


async def test_running_sink_counts_texts(client: Any, prepared_kafka: str, prepared_database: str) -> None:
    now = datetime.now(UTC)
    insert(client, now - DAY, now - timedelta(hours=1))
    with open_sink(prepared_kafka, prepared_database) as sink:
        await sink.wait_for_metric(AFTER_STOP, 1)
