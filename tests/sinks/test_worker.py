"""Sinks on running engines: after crashes and rebalances each record is stored, and counted once."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack

from msgspec import convert, json
from pydantic import SecretStr

from gateway.postback import RECEIPT, SENT, AnyPostback, encode
from gateway.rejected import REJECTED, Rejected
from gateway.submission import SUBMISSIONS
from sinks.migrate import migrate
from streams.contact import CONTACTS, Contact, encode_contact, join_contacts, merge_contact
from streams.merge import state_of
from streams.message import MESSAGES, encode_message
from tests.support.contact_events import contact_event
from tests.support.kafka import PARTITIONS
from tests.support.postbacks import MESSAGE_ID, at, receipt, sent
from tests.support.sinks import (
    COUNTS,
    execute,
    expected_counts,
    open_sink,
    produce_values,
    rows,
    run_worker,
    stored_messages,
    wait_committed,
)
from tests.support.submissions import submission
from tests.support.workload import generate_postbacks, produce


async def test_each_topic_is_stored_in_its_table(prepared_kafka: str, database: str) -> None:
    state = state_of(sent())
    rejected = Rejected(rejection_id="1" * 32, reason="no_type", received_at=at(5), body="a=b", method="POST")
    await produce_values(
        prepared_kafka, SENT, encode(sent(body="SMSSent=1", extra={"New": "1"})), encode(sent(second=9))
    )
    await produce_values(prepared_kafka, RECEIPT, encode(receipt(code="000", backup_message_id=MESSAGE_ID)))
    await produce_values(prepared_kafka, MESSAGES, encode_message(state), None, encode_message(state))
    await produce_values(prepared_kafka, REJECTED, encode(rejected), encode(rejected))
    with open_sink(prepared_kafka, database) as sink:
        await wait_committed(prepared_kafka)
        assert sink.readyz() == "ready\n"
        assert sink.process.stop() == 0
    events = rows(database, "SELECT type, received_at, body, extra, sent, times FROM events ORDER BY type")
    assert events == [
        {
            "type": "sent",
            "received_at": at(0),
            "body": "SMSSent=1",
            "extra": {"New": "1"},
            "sent": True,
            "times": 2,
        },
        {"type": "receipt", "received_at": at(0), "body": "", "extra": {}, "sent": None, "times": 1},
    ]
    assert stored_messages(database) == {MESSAGE_ID: state}
    (stored,) = rows(database, "SELECT * FROM rejected FINAL")
    assert (stored["rejection_id"], stored["stage"], stored["reason"]) == ("1" * 32, "gateway", "no_type")
    assert (stored["method"], stored["partition"], stored["offset"]) == ("POST", -1, -1)
    assert sorted(record["offset"] for record in stored["records"]) == [0, 1]


async def test_submissions_are_stored_with_their_coordinates(
    prepared_kafka: str, prepared_database: str
) -> None:
    refused = submission("u2", error=3, message_id=None, reference_id="42", body='{"SMSError":3}')
    accepted = submission(text="Your table is ready", scheduled_for=at(60))
    await produce_values(prepared_kafka, SUBMISSIONS, encode(accepted), encode(refused), b"?", partition=2)
    with open_sink(prepared_kafka, prepared_database):
        await wait_committed(prepared_kafka)
    stored = rows(prepared_database, "SELECT * FROM submissions ORDER BY offset")
    assert [(row["topic"], row["partition"], row["offset"]) for row in stored] == [
        (SUBMISSIONS, 2, 0),
        (SUBMISSIONS, 2, 1),
    ]
    for row, given in zip(stored, (accepted, refused), strict=True):
        fields = json.decode(encode(given))
        del fields["type"]
        assert row.items() >= fields.items()
    (rejected,) = rows(prepared_database, "SELECT topic, offset, stage FROM rejected FINAL")
    assert rejected == {"topic": SUBMISSIONS, "offset": 2, "stage": "sinks"}


async def test_contacts_are_stored_as_their_states_join(prepared_kafka: str, prepared_database: str) -> None:
    stop, start = contact_event("e1", 1), contact_event("e2", 5, "opted_in", words="START")
    early, late = merge_contact(None, stop), merge_contact(None, start)
    newest = join_contacts(early, late)
    await produce_values(prepared_kafka, CONTACTS, encode_contact(late), encode_contact(early), None, b"?")
    with open_sink(prepared_kafka, prepared_database):
        await wait_committed(prepared_kafka)
    assert [convert(row, Contact) for row in rows(prepared_database, "SELECT * FROM contacts")] == [newest]
    (rejected,) = rows(prepared_database, "SELECT topic, offset, stage FROM rejected FINAL")
    assert rejected == {"topic": CONTACTS, "offset": 3, "stage": "sinks"}


async def test_killed_sink_neither_loses_nor_duplicates_records(
    prepared_kafka: str, prepared_database: str
) -> None:
    load = generate_postbacks(4_000, seed=1)
    producing = asyncio.create_task(produce(prepared_kafka, load, PARTITIONS, rate=4_000))
    for _ in range(3):
        with open_sink(prepared_kafka, prepared_database, batch_rows=500) as sink:
            await sink.wait_for_metric("postbacks_sinks_rows_total", 301)
            sink.process.kill()
    await producing
    with open_sink(prepared_kafka, prepared_database):
        await wait_committed(prepared_kafka)
    assert rows(prepared_database, COUNTS) == [expected_counts(load)]


async def test_redelivered_records_collapse_to_one_row_each(
    prepared_kafka: str, prepared_database: str
) -> None:
    load = generate_postbacks(300, seed=2)
    await produce(prepared_kafka, load, PARTITIONS)
    migrate(SecretStr(prepared_database))
    execute(prepared_database, "SYSTEM STOP MERGES postbacks")
    for size in (7, 100, 50_000):
        group = f"by-{size}"
        async with run_worker(prepared_kafka, prepared_database, group, batch_rows=size):
            await wait_committed(prepared_kafka, group)
    stored = rows(prepared_database, "SELECT count() AS rows FROM postbacks")
    assert stored[0]["rows"] > len(load)
    assert rows(prepared_database, COUNTS) == [expected_counts(load)]


async def test_rebalances_under_load_lose_and_duplicate_nothing(
    prepared_kafka: str, prepared_database: str
) -> None:
    moved = asyncio.Event()
    feeding = asyncio.create_task(feed(prepared_kafka, moved))
    with ExitStack() as sinks:
        first = sinks.enter_context(open_sink(prepared_kafka, prepared_database))
        await first.wait_for_metric("postbacks_sinks_rows_total", 1)
        second = sinks.enter_context(open_sink(prepared_kafka, prepared_database))
        await second.wait_for_metric("postbacks_sinks_rows_total", 1)
        assert first.process.stop() == 0
        third = sinks.enter_context(open_sink(prepared_kafka, prepared_database))
        await third.wait_for_metric("postbacks_sinks_rows_total", 1)
        second.process.kill()
        moved.set()
        load = await feeding
        await wait_committed(prepared_kafka)
        assert third.process.stop() == 0
    assert rows(prepared_database, COUNTS) == [expected_counts(load)]


async def feed(kafka: str, stop: asyncio.Event) -> list[AnyPostback]:
    """Produce 400 postbacks at a time, until the event is set; returns them all."""
    load: list[AnyPostback] = []
    while not stop.is_set():
        some = generate_postbacks(400, seed=len(load))
        await produce(kafka, some, PARTITIONS, rate=4_000)
        load += some
    return load


async def test_suspended_sink_resumes_without_loss_or_duplicates(
    prepared_kafka: str, prepared_database: str
) -> None:
    suspended = asyncio.Event()
    feeding = asyncio.create_task(feed(prepared_kafka, suspended))
    with (
        open_sink(prepared_kafka, prepared_database) as frozen,
        open_sink(prepared_kafka, prepared_database) as other,
    ):
        for sink in (frozen, other):  # whichever joins the group first
            await sink.wait_for_metric("postbacks_sinks_rows_total", 1)
        os.kill(frozen.process.popen.pid, signal.SIGSTOP)
        suspended.set()
        load = await feeding
        await wait_committed(prepared_kafka)  # the other one owns all partitions by then
        os.kill(frozen.process.popen.pid, signal.SIGCONT)
        await frozen.wait_ready()
        assert frozen.process.stop() == 0
    assert rows(prepared_database, COUNTS) == [expected_counts(load)]
