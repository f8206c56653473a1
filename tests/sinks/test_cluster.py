"""Which cluster it is can be asked by several at a time, also by those who connect anew."""

from __future__ import annotations

import asyncio

from sinks.cluster import ClusterGuard


async def test_several_ask_at_a_time_when_the_connection_is_gone(kafka: str) -> None:
    cluster = ClusterGuard({"bootstrap_servers": [kafka]})
    await cluster.open([])
    await cluster.close()
    await asyncio.gather(*(cluster.confirm() for _ in range(5)))
    await cluster.close()
