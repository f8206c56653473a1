"""One of three brokers down: postbacks are accepted as before, and a metric shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engines import APACHE, Engines
from tests.support.gateway import form_request, open_gateway, post, wait_for_status
from tests.support.kafka import ApacheKafka
from tests.support.samples import SENT


@pytest.mark.engine
async def test_underreplication_is_measured_and_rejects_no_postback(engines: Engines, tmp_path: Path) -> None:
    engines.used.add(APACHE)
    cluster = ApacheKafka(tmp_path, 3)
    try:
        cluster.start()
        with open_gateway(cluster.address, replication=3, partitions=2) as gateway:
            await wait_for_status(200, gateway.address, form_request(SENT))
            assert gateway.metric("postbacks_gateway_underreplicated_partitions") == 0
            cluster.nodes[2].kill()
            await gateway.wait_for_metric("postbacks_gateway_underreplicated_partitions", 1)
            assert (await post(gateway.address, SENT)).status in (200, 202)  # during the election of a leader
    finally:
        cluster.kill()
