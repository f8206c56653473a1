"""Concurrent requests of the cluster guard."""

from __future__ import annotations

import asyncio

from sinks.cluster import ClusterGuard


async def test_concurrent_verifications_reconnect_once(kafka: str) -> None:
    cluster = ClusterGuard({"bootstrap_servers": [kafka]})
    await cluster.open([])
    await cluster.close()
    await asyncio.gather(*(cluster.verify() for _ in range(5)))
    await cluster.close()
