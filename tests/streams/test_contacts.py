"""Contacts that a worker of streams writes beside its messages: from replies and submissions to the topic."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from gateway.rejected import REJECTED, decode_rejected
from streams.contact import CONTACTS, encode_contact, merge_contact
from streams.contact_event import CONTACT_EVENTS, encode_contact_event
from streams.message import INPUTS
from tests.support.contact_events import contact_event
from tests.support.kafka import delete_topics, open_admin
from tests.support.opt_outs import fold_contacts, with_opt_outs
from tests.support.postbacks import reply
from tests.support.streams import Streams
from tests.support.submissions import submission
from tests.support.wait import eventually
from tests.support.workload import diff_states, generate_postbacks, join_states, read_all

KEY = b"acme/7575550100"


@pytest_asyncio.fixture
async def streams(fresh_kafka: str, tmp_path: Path) -> Streams:
    made = Streams(fresh_kafka, tmp_path, partitions=2)
    await made.create_topics()
    return made


async def delete_records(streams: Streams, *topics: str) -> None:
    """Delete all records of topics, as retention does."""
    tps = [TopicPartition(topic, number) for topic in topics for number in range(streams.partitions)]
    async with open_admin(streams.kafka) as admin:
        await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in tps})


async def test_reply_stop_becomes_an_opted_out_contact(streams: Streams) -> None:
    stop = reply(
        text="Stop.", from_number="17575550100", to_number="74121", occurred_at="2026-11-23T12:00:00.000Z"
    )
    refused = submission(error=1, from_number="74121", to_number="+1 (757) 555-0100")
    invalid = [(KEY, b"nope"), (KEY, None), (b"acme/1", encode_contact_event(contact_event()))]
    await streams.produce([stop, refused, reply("a2", text="Thanks", from_number="17575550101")])
    with streams.worker():
        await streams.produce_raw(CONTACT_EVENTS, invalid)
        await streams.wait_contacts_merged()
        contacts = await streams.contacts()
    assert contacts.keys() == {KEY}
    contact = contacts[KEY]
    assert [(fact.signal, fact.words, fact.source) for fact in contact.facts] == [
        ("opted_out", "Stop.", "response"),
        ("opted_out", "STOPfromPhoneNumber", "submission"),
    ]
    assert [(mark.own_number, mark.signal, mark.at) for mark in contact.latest] == [
        ("74121", "opted_out", "2026-11-23T12:00:00.000Z")
    ]
    rejected = [decode_rejected(record.value) for record in await read_all(streams.kafka, REJECTED)]
    assert sorted((one.topic, one.reason) for one in rejected) == [
        (CONTACT_EVENTS, "empty_record"),
        (CONTACT_EVENTS, "foreign_key"),
        (CONTACT_EVENTS, "undecodable_record"),
    ]


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
async def test_messages_and_contacts_are_restored_together(streams: Streams, store: str) -> None:
    given = with_opt_outs(generate_postbacks(600, seed=1))
    await streams.produce(given[:1200])
    with streams.worker("a", store=store) as worker:
        await streams.wait_contacts_merged()
        worker.process.kill()
    await streams.produce(given[1200:])
    with streams.worker("b", store=store) as worker:
        await streams.wait_contacts_merged()
        restored = {
            topic: worker.samples()[f'postbacks_streams_states_recovered_total{{topic="{topic}"}}']
            for topic in ("messages", CONTACTS)
        }
        assert min(restored.values()) > 0
        assert diff_states(join_states(await streams.messages()), streams.expected) == {}
        assert await streams.contacts() == fold_contacts(given)


async def test_contacts_come_back_after_topic_is_deleted(
    streams: Streams, capfd: pytest.CaptureFixture[str]
) -> None:
    given = with_opt_outs(generate_postbacks(400, seed=2))
    await streams.produce(given[:800])
    with streams.worker() as worker:
        await streams.wait_contacts_merged()
        before = len(await streams.messages())
        await delete_topics(streams.kafka, CONTACTS)
        assert await worker.process.wait() == 1
    assert "contacts was deleted" in capfd.readouterr().err
    await delete_records(streams, *INPUTS)
    await delete_records(streams, CONTACT_EVENTS)  # now the store alone has these contacts
    with streams.worker() as worker:
        await eventually(streams.contacts, "they are back", lambda found: found == fold_contacts(given[:800]))
        assert len(await streams.messages()) == before, "messages were left alone"
        await streams.produce(given[800:])
        await streams.wait_contacts_merged()
        assert await streams.contacts() == fold_contacts(given)


async def test_stale_contact_is_repaired(streams: Streams) -> None:
    given = with_opt_outs(generate_postbacks(200, seed=3))
    await streams.produce(given)
    with streams.worker() as worker:
        await streams.wait_contacts_merged()
        (key, *_) = expected = fold_contacts(given)
        stale = merge_contact(None, contact_event(number=key.partition(b"/")[2].decode()))
        await streams.produce_raw(CONTACTS, [(key, encode_contact(stale))])
        expected[key] = merge_contact(expected[key], contact_event(number=stale.number))
        await eventually(streams.contacts, "the join is last", lambda found: found == expected)
        assert worker.samples()['postbacks_streams_changelog_repairs_total{topic="contacts"}'] == 1
