"""Clusters of Apache Kafka for tests: some nodes as the embedded one is, killed and started at will.

Every cluster has ports, an id and a folder of its own, so that many run side by side on a machine.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from embedded.kafka.node import KafkaFailed, Node, new_cluster_id, node_properties
from embedded.kafka.server import installed_kafka
from runtime.settings import load_settings

#: Below those that the system gives to outgoing connections: a node that is down keeps its own.
PORTS = range(20_000, 32_000)


class ApacheKafka:
    """A cluster of some nodes, with one listener for clients on each.

    The first `voters` nodes (all by default) are controllers, too, and vote; a cluster of five with three
    voters survives the loss of the two others. Internal topics have a replica for each voter.

    `protocol` is that listener's (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL); what such a one needs besides
    (key stores, mechanisms, JAAS) goes into `properties`, users of SCRAM into `format_options`.

    `port` is the first node's for clients; by default a free one is taken.
    """

    def __init__(
        self,
        home: Path,
        size: int = 1,
        protocol: str = "PLAINTEXT",
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
        voters: int | None = None,
        port: int | None = None,
    ) -> None:
        self.cluster = new_cluster_id()
        self._format_options = format_options
        kafka = installed_kafka(load_settings())
        ports = free_ports(size + (voters or size))
        controllers = dict(enumerate(ports[size:], 1))
        clients = [port or ports[0], *ports[1:size]]
        security = {"listener.security.protocol.map": f"CLIENTS:{protocol},CONTROLLER:PLAINTEXT"}
        self.nodes = []
        for number, own_port in enumerate(clients, 1):
            folder = home / f"node{number}"
            own = node_properties(number, own_port, folder / "data", controllers) | security
            self.nodes.append(
                Node(kafka, folder, own_port, own | dict(properties or {}), folder / "output.log")
            )

    @property
    def address(self) -> str:
        """For `bootstrap_servers`: `host:port,host:port`."""
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Format and start every node, and wait until all take connections."""
        with ThreadPoolExecutor(len(self.nodes)) as threads:
            list(threads.map(lambda node: node.format(self.cluster, self._format_options), self.nodes))
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()

    def end(self) -> None:
        """Kill every node; a cluster is for one run and keeps nothing."""
        for node in self.nodes:
            node.kill()


@asynccontextmanager
async def own_kafka(home: Path, port: int | None = None) -> AsyncIterator[ApacheKafka]:
    """A cluster of one node while the block runs, for a test that starts, replaces or ends it."""
    cluster = ApacheKafka(home, port=port)
    try:
        await asyncio.to_thread(cluster.start)
        yield cluster
    finally:
        cluster.end()


def free_ports(count: int) -> list[int]:
    """Unused ports of loopback, outside of the range that the system gives to outgoing connections."""
    chosen: list[int] = []
    for port in random.sample(PORTS, 1_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise KafkaFailed(f"There are no {count} free ports in {PORTS}")
