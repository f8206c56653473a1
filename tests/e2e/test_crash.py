"""Two workers die in mid-load, by SIGKILL and by SIGTERM: nothing is lost, nothing is counted twice.

Neither in the topic `messages`, nor in what ClickHouse makes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import pytest

from gateway.postback import key_of
from streams.message import Message, encode_message
from tests.support.kafka import ApacheKafka
from tests.support.kafka_reset import wipe
from tests.support.sinks import all_stored, as_messages, open_sink
from tests.support.streams import Streams
from tests.support.workload import differences, joined, last, postbacks

#: Comes to a little more than 100,000 postbacks.
MESSAGES = 34_000
#: Postbacks a second, so that the load lasts longer than the deaths.
RATE = 4_000


@pytest.mark.timeout(600)
async def test_messages_equal_the_plain_fold_whoever_is_killed(
    apache_kafka: ApacheKafka, database: str, tmp_path: Path
) -> None:
    await wipe(apache_kafka.address)
    streams = Streams(apache_kafka.address, tmp_path)
    await streams.make_topics()
    given = postbacks(MESSAGES, seed=21)
    assert len(given) > 100_000
    with streams.worker("a") as first, streams.worker("b") as second:
        await asyncio.gather(first.ready(), second.ready())
        load = asyncio.create_task(streams.give(given, RATE))
        await merges(first.metric, 10_000)
        first.process.kill()
        with streams.worker("a"):
            await merges(second.metric, 40_000)
            assert not load.done(), "the deaths are to happen in mid-load"
            assert second.process.stop() == 0
            with streams.worker("b"):
                await load
                await streams.merged()
    records = await streams.messages()
    assert differences(joined(records), streams.folded) == {}
    assert differences(last(records), streams.folded) == {}
    with open_sink(apache_kafka.address, database):
        await all_stored(apache_kafka.address)
    assert differences(dict(by_key(as_messages(database).values())), streams.folded) == {}


def by_key(messages: Iterable[Message]) -> Iterator[tuple[bytes, bytes]]:
    """Key and value as streams writes them."""
    return ((key_of(message.account, message.message_id), encode_message(message)) for message in messages)


async def merges(metric: Callable[[str], Awaitable[float]], least: int) -> None:
    """Wait until a worker has merged so many."""
    async with asyncio.timeout(120):
        while True:
            if await metric("merged_total") >= least:
                return
            await asyncio.sleep(0.1)
