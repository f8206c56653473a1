"""The embedded Kafka's data stays below its limit, and nothing that ClickHouse lacks is deleted for it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from embedded.kafka.retention import READERS, disk_usage
from gateway.postback import POSTBACK_TOPICS, REJECTED
from tests.support.gateway import free_address, open_gateway, post
from tests.support.process import running
from tests.support.sinks import all_stored, open_clickhouse, open_sink, rows
from tests.support.sinks import until as eventually
from tests.support.streams import Streams

LIMIT = 64 * 2**20
#: The largest body: as a record it takes twice as much.
TEXT = "x" * 60_000


def sent() -> tuple[str, bytes]:
    message = str(uuid4())
    return message, f"SMSSent=1&MessageID={message}&FromPhoneNumber=74121&Note={TEXT}".encode()


def test_records_wait_for_all_groups_that_read_them() -> None:
    both = {topic for topic, groups in READERS.items() if groups == ("streams", "sinks")}
    assert (both, READERS.keys() - both) == ({*POSTBACK_TOPICS}, {REJECTED})


async def test_full_log_refuses_postbacks_until_they_are_stored(tmp_path: Path) -> None:
    """ClickHouse is down until the limit is reached; everything that got a 2xx is in SQL afterwards."""
    data, clickhouse_port = tmp_path / "data", int(free_address().rpartition(":")[2])
    clickhouse = f"http://default:@127.0.0.1:{clickhouse_port}/postbacks"
    settings = {"POSTBACKS_LOG_BYTES": str(LIMIT)}
    with ExitStack() as stack:
        kafka = stack.enter_context(
            running("embedded", "kafka", "--port", "0", "--data", data, environment=settings)
        ).line()
        gateway = stack.enter_context(
            open_gateway(kafka, partitions="1", hold=str(data / "kafka" / "hold"), data=str(data / "gateway"))
        )
        stack.enter_context(Streams(kafka, data, partitions=1).worker())
        stack.enter_context(open_sink(kafka, clickhouse))
        accepted = []
        async with asyncio.timeout(120):
            while True:
                posted = [sent() for _ in range(20)]
                answers = await asyncio.gather(*(post(gateway.address, body) for _, body in posted))
                pairs = zip(posted, answers, strict=True)
                accepted += [message for (message, _), answer in pairs if answer.status == 200]
                if any(answer.status == 503 for answer in answers):
                    break
                assert {answer.status for answer in answers} == {200}
        assert len(accepted) * len(TEXT) > LIMIT / 3
        stack.enter_context(open_clickhouse(data, clickhouse_port))
        await all_stored(kafka)

        async def accepts() -> bool:
            return (await post(gateway.address, sent()[1])).status == 200

        await eventually(accepts, "there is room again")
        assert disk_usage(data / "kafka" / "data") < LIMIT
        stored = {row["message_id"] for row in rows(clickhouse, "SELECT message_id FROM messages")}
        assert set(accepted) <= stored
