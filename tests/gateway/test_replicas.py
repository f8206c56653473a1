"""A broker of three that is gone: postbacks are taken as before, and the operator is told."""

from __future__ import annotations

from pathlib import Path

from tests.support.engines import APACHE, Engines
from tests.support.gateway import open_gateway, post
from tests.support.kafka import ApacheKafka
from tests.support.samples import SENT


async def test_a_missing_replica_is_counted_and_costs_nothing(engines: Engines, tmp_path: Path) -> None:
    engines.used.add(APACHE)
    cluster = ApacheKafka(tmp_path, 3)
    try:
        cluster.start()
        with open_gateway(cluster.address, replication="3", partitions="2") as gateway:
            assert (await post(gateway.address, SENT)).status == 200
            assert await gateway.metric("underreplicated_partitions") == 0
            cluster.nodes[2].kill()
            await gateway.reaches("underreplicated_partitions", 1)
            assert (await post(gateway.address, SENT)).status in (200, 202)  # its leader may just be elected
    finally:
        cluster.end()
