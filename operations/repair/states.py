"""Inserts the states of some messages from the topic `messages`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from msgspec import DecodeError

from operations.progress import Advance
from operations.repair.insert import BatchInserter, Insert
from operations.repair.report import RepairReport
from runtime.kafka.reader import Records
from sinks.tables import MESSAGE_STATES
from streams.message import decode_message


@dataclass
class StatesFound:
    """What the topic has of the messages."""

    #: Keys that have a state.
    keys: set[bytes] = field(default_factory=set)
    #: Ids of the events that are facts in these states.
    events: set[str] = field(default_factory=set)


async def insert_states(
    records: Records,
    insert: Insert,
    keys: Collection[bytes],
    ranges: Mapping[TopicPartition, range],
    report: RepairReport,
    advance: Advance,
) -> StatesFound:
    """Insert every state of these keys at these offsets: joining one that ClickHouse has changes nothing.

    Args:
        advance: called with the number of records read.

    Raises:
        KafkaUnavailable: no answer. Errors of `insert` are raised, too.
        NewerVersion: the format of a state is newer than this code.
    """
    found = StatesFound()
    inserter = BatchInserter(MESSAGE_STATES, insert, report)
    async for _, batch, _ in records.read(ranges):
        states = [record for record in batch if record.value is not None and record.key in keys]
        await inserter.append(states)
        for record in states:
            found.keys.add(record.key)
            found.events |= _events(record.value)
        advance(len(batch))
    await inserter.flush()
    return found


def _events(value: bytes) -> set[str]:
    """The ids of a state's facts; none if it is not a state, which ClickHouse refuses, too."""
    try:
        message = decode_message(value)
    except DecodeError:
        return set()
    return {
        fact.event_id
        for facts in (message.attempts, message.receipts, message.replies, message.submissions)
        for fact in facts
    }
