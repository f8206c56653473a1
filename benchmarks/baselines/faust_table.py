"""Stock Faust: an agent on the three topics and a table, as documented.

`python -m benchmarks.baselines.faust_table worker`, with KAFKA, GROUP, PARTITIONS, STORE (memory:// or
rocksdb://) and FOLDER in the environment. It decodes and merges with our code, so that only Faust differs.
"""

from __future__ import annotations

import os

import faust
from faust.types import StreamT

from gateway.postback import POSTBACK_TOPICS, decode
from streams.merge import merge
from streams.message import decode_message, encode_message

app = faust.App(
    os.environ["GROUP"],
    broker=f"kafka://{os.environ['KAFKA']}",
    store=os.environ["STORE"],
    datadir=os.environ["FOLDER"],
    topic_partitions=int(os.environ["PARTITIONS"]),
    topic_disable_leader=True,
    broker_commit_interval=1.0,
)
postbacks = app.topic(
    *POSTBACK_TOPICS, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
)
messages = app.Table(
    "messages",
    key_type=bytes,
    value_type=bytes,
    options={"driver": "rocksdict"} if os.environ["STORE"].startswith("rocksdb") else {},
)


@app.agent(postbacks)
async def correlate(stream: StreamT[bytes]) -> None:
    async for event in stream.events():
        known = messages.get(event.key)
        before = None if known is None else decode_message(known)
        after = merge(before, decode(event.message.topic, event.value))
        if after is not before:
            messages[event.key] = encode_message(after)


if __name__ == "__main__":
    app.main()
