"""The embedded Kafka stays below its disk limit, and deletes no record that is not in ClickHouse."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from embedded.kafka.retention import CONSUMER_GROUPS, disk_usage
from gateway.postback import POSTBACK_TOPICS
from gateway.rejected import REJECTED
from tests.support.gateway import form_request, free_address, open_gateway, post, wait_for_status
from tests.support.process import running
from tests.support.sinks import open_clickhouse, open_sink, rows, wait_committed
from tests.support.streams import Streams

LIMIT = 200 * 2**20
#: Close to the maximum body size; a record takes twice as much.
TEXT = "x" * 60_000


def sent() -> tuple[str, bytes]:
    message = str(uuid4())
    return message, f"SMSSent=1&MessageID={message}&FromPhoneNumber=74121&Note={TEXT}".encode()


def test_all_topics_have_their_consumer_groups() -> None:
    both = {topic for topic, groups in CONSUMER_GROUPS.items() if groups == ("streams", "sinks")}
    assert (both, CONSUMER_GROUPS.keys() - both) == ({*POSTBACK_TOPICS}, {REJECTED})


async def test_gateway_answers_503_while_kafka_is_full(tmp_path: Path) -> None:
    """ClickHouse is down until the limit is reached; every postback that got a 2xx is stored afterwards."""
    data, clickhouse_port = tmp_path / "data", int(free_address().rpartition(":")[2])
    clickhouse = f"http://default:@127.0.0.1:{clickhouse_port}/postbacks"
    with ExitStack() as stack:
        kafka = stack.enter_context(
            running("embedded", "kafka", "--port", "0", "--data", data, log_bytes=LIMIT)
        ).read_line()
        gateway = stack.enter_context(
            open_gateway(kafka, partitions=1, hold=data / "kafka" / "hold", data=data / "gateway")
        )
        stack.enter_context(Streams(kafka, data, partitions=1).worker())
        stack.enter_context(open_sink(kafka, clickhouse))
        accepted = []
        async with asyncio.timeout(120):
            while True:
                posted = [sent() for _ in range(20)]
                responses = await asyncio.gather(*(post(gateway.address, body) for _, body in posted))
                pairs = zip(posted, responses, strict=True)
                accepted += [message for (message, _), response in pairs if response.status == 200]
                if any(response.status == 503 for response in responses):
                    break
                assert {response.status for response in responses} == {200}
        assert len(accepted) * len(TEXT) > LIMIT / 3
        stack.enter_context(open_clickhouse(data, clickhouse_port))
        await wait_committed(kafka)
        await wait_for_status(200, gateway.address, form_request(sent()[1]))
        assert disk_usage(data / "kafka" / "data") < LIMIT
        stored = {row["message_id"] for row in rows(clickhouse, "SELECT message_id FROM messages")}
        assert set(accepted) <= stored
