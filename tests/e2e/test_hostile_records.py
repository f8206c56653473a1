"""Records of other producers in our topics, on running engines: each is isolated, and nothing is missing."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

from aiokafka.partitioner import murmur2
from msgspec import json

from gateway.postback import RECEIPT, RESPONSE, SENT, TOPIC_OF, AnyPostback, encode, key_of
from gateway.rejected import REJECTED
from streams.merge import state_of
from streams.message import MESSAGES, decode_message, encode_message
from tests.support.pipeline import create_pipeline
from tests.support.postbacks import MESSAGE_ID, receipt, reply, sent
from tests.support.raw_records import RawRecord, produce_each
from tests.support.sinks import rows, stored_messages
from tests.support.workload import fold

KEY = key_of("acme", MESSAGE_ID)
GOOD: list[AnyPostback] = [sent("s1"), receipt("r1", 1), reply("a1", 2), receipt("r2", 3, "000")]
DEEP = b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NAMELESS = [(b"\xff", b"value")]
STATE = encode_message(state_of(sent("s1")))

#: By topic; those with the key of the message would spoil its state.
HOSTILE: dict[str, list[RawRecord]] = {
    SENT: [
        RawRecord(encode(sent("x1"))[:-1] + DEEP, KEY),
        RawRecord(encode(sent("x2")), b"\x00offset"),
        RawRecord(encode(sent("e" * 1_000_000)), KEY),
        RawRecord(encode(sent("x3", received_at="2026-W48-1T04:39:41.123Z")), KEY),
        RawRecord(encode(sent("x4", occurred_at="soon")), KEY),
        RawRecord(b"\x01" * 1_000_000, KEY),
        RawRecord(b'{"\xff":"\xff"}', None, headers=NAMELESS),
        RawRecord(b"?", b"\xff" * 100_000, timestamp=-(2**62)),
        RawRecord(None, KEY, timestamp=-2),
    ],
    RESPONSE: [RawRecord(encode(reply("x5", reply_id="x")), KEY)],
    RECEIPT: [RawRecord(encode(receipt("x6", backup_message_id="x")), KEY)],
    REJECTED: [RawRecord(b"[" * 100_000, b"\xff", headers=NAMELESS)],
    MESSAGES: [
        RawRecord(STATE[:-1] + DEEP, KEY),
        RawRecord(STATE, b"\x00offset"),
        RawRecord(b"?", b"\xff\n"),
        RawRecord(b'{"version":', KEY, headers=NAMELESS),
    ],
}


async def test_hostile_records_are_isolated(fresh_kafka: str, prepared_database: str, tmp_path: Path) -> None:
    pipeline = await create_pipeline(fresh_kafka, prepared_database, tmp_path)
    partition = (murmur2(KEY) & 0x7FFFFFFF) % pipeline.streams.partitions
    for topic, records in HOSTILE.items():
        await produce_each(pipeline.kafka, topic, partition, records[::2])
    for postback in GOOD:
        named = RawRecord(encode(postback), KEY, headers=NAMELESS)
        await produce_each(pipeline.kafka, TOPIC_OF[type(postback)], partition, [named])
    for topic, records in HOSTILE.items():
        await produce_each(pipeline.kafka, topic, partition, records[1::2])
    with pipeline.streams.worker() as worker:
        await pipeline.streams.wait_committed()
        last = await pipeline.streams.wait_for_messages(
            "the state of the good postbacks", lambda last: last.get(KEY) == fold(GOOD)[KEY]
        )
        assert worker.process.stop() == 0
    assert set(last) <= {KEY, b"\x00offset", b"\xff\n"}
    await pipeline.store()
    assert stored_messages(prepared_database)[MESSAGE_ID] == decode_message(fold(GOOD)[KEY])
    refused = rows(prepared_database, "SELECT * FROM rejected FINAL WHERE stage = 'streams'")
    sent_values = {record.value or b"" for topic in (SENT, RESPONSE, RECEIPT) for record in HOSTILE[topic]}
    assert {b64decode(row["body_base64"]) or row["body"].encode() for row in refused} == {
        value[: 512 * 1024] for value in sent_values
    }
    done = await pipeline.command("reconcile", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.decode(done.stdout)["complete"]
