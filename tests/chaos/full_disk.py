"""Kafka reaches its disk limit while ClickHouse is down; the gateway answers 503 until space is free."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from secrets import token_urlsafe
from uuid import uuid4

from embedded.kafka.retention import disk_usage
from tests.chaos.scenario import Stage
from tests.support.gateway import form_request, free_address, open_gateway, post, wait_for_status
from tests.support.process import running
from tests.support.sinks import open_clickhouse, open_sink, rows, wait_committed
from tests.support.streams import Streams

#: Close to the maximum body size, and incompressible; a record takes twice as much.
TEXT = token_urlsafe(45_000)
CONCURRENT = 20


async def fill_disk(stage: Stage, limit: int) -> None:
    """Post until Kafka uses `limit` bytes, then start ClickHouse and check what is stored."""
    data, clickhouse_port = stage.folder / "data", int(free_address().rpartition(":")[2])
    clickhouse = f"http://default:@127.0.0.1:{clickhouse_port}/postbacks"
    with ExitStack() as stack:
        kafka = stack.enter_context(
            running("embedded", "kafka", "--port", "0", "--data", data, log_bytes=limit)
        ).read_line()
        gateway = stack.enter_context(
            open_gateway(kafka, partitions=1, hold=data / "kafka" / "hold", data=data / "gateway")
        )
        stack.enter_context(Streams(kafka, data, partitions=1).worker())
        stack.enter_context(open_sink(kafka, clickhouse))
        accepted, statuses = await _post_until_rejected(gateway.address)
        stage.show(f"{len(accepted):,} postbacks accepted until the limit")
        stage.require(statuses == {200, 503}, f"the gateway answers 200, then 503, not {statuses}")
        stage.require(len(accepted) * len(TEXT) > limit / 3, "most of the limit is used for postbacks")
        stack.enter_context(open_clickhouse(data, clickhouse_port))
        await wait_committed(kafka)
        await wait_for_status(200, gateway.address, form_request(_sent()[1]))
        stage.show("accepting again")
        stage.require(disk_usage(data / "kafka" / "data") < limit, "Kafka uses less than its limit")
        stored = {row["message_id"] for row in rows(clickhouse, "SELECT message_id FROM messages")}
        stage.require(accepted <= stored, f"{len(accepted - stored)} postbacks with a 200 are not stored")


async def _post_until_rejected(address: str) -> tuple[set[str], set[int]]:
    """Return the message ids that got a 200, and the statuses that occurred."""
    accepted, statuses = set(), {200}
    while statuses == {200}:
        posted = [_sent() for _ in range(CONCURRENT)]
        responses = await asyncio.gather(*(post(address, body) for _, body in posted))
        statuses |= {response.status for response in responses}
        pairs = zip(posted, responses, strict=True)
        accepted |= {message for (message, _), response in pairs if response.status == 200}
    return accepted, statuses


def _sent() -> tuple[str, bytes]:
    message = str(uuid4())
    return message, f"SMSSent=1&MessageID={message}&FromPhoneNumber=74121&Note={TEXT}".encode()
