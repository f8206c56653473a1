"""Workers of streams end under load, by SIGKILL and by SIGTERM: nothing is lost or counted twice.

Neither in the topics `messages` and `contacts`, nor in ClickHouse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.postback import key_of
from streams.message import Message, encode_message
from tests.support.kafka import ApacheKafka, wipe
from tests.support.opt_outs import fold_contacts, with_opt_outs
from tests.support.sinks import open_sink, stored_messages, wait_committed
from tests.support.streams import Streams
from tests.support.workload import compact, diff_states, generate_postbacks, join_states

#: About 15,000 postbacks; `make chaos` posts more.
MESSAGES = 5_000
#: Postbacks per second, so that the workers end before the load does.
RATE = 1_500


async def test_messages_are_exact_after_workers_end(
    apache_kafka: ApacheKafka, database: str, tmp_path: Path
) -> None:
    await wipe(apache_kafka.address)
    streams = Streams(apache_kafka.address, tmp_path)
    await streams.create_topics()
    given = with_opt_outs(generate_postbacks(MESSAGES, seed=21))
    with streams.worker("a") as first, streams.worker("b") as second:
        await asyncio.gather(first.wait_ready(), second.wait_ready())
        load = asyncio.create_task(streams.produce(given, RATE))
        await first.wait_for_metric("postbacks_streams_merged_total", 1_500)
        first.process.kill()
        with streams.worker("a"):
            await second.wait_for_metric("postbacks_streams_merged_total", 4_500)
            assert not load.done(), "the workers must end under load"
            assert second.process.stop() == 0
            with streams.worker("b"):
                await load
                await streams.wait_contacts_merged()
    assert await streams.contacts() == fold_contacts(given)
    records = await streams.messages()
    assert diff_states(join_states(records), streams.expected) == {}
    assert diff_states(compact(records), streams.expected) == {}
    with open_sink(apache_kafka.address, database):
        await wait_committed(apache_kafka.address)
    assert diff_states(dict(by_key(stored_messages(database).values())), streams.expected) == {}


def by_key(messages: Iterable[Message]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values as streams writes them."""
    return ((key_of(message.account, message.message_id), encode_message(message)) for message in messages)
