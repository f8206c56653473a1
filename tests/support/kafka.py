"""Apache Kafka clusters for tests: nodes of the embedded Kafka, which can be killed and restarted.

Each cluster has its own ports, id and folder, so that several can run on a machine at once.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.admin import DeleteGroupsRequest

from embedded.kafka.class_cache import with_class_cache
from embedded.kafka.installation import installed_kafka
from embedded.kafka.node import KafkaFailed, Node, new_cluster_id, node_properties
from gateway.topics import gateway_topics
from runtime.kafka.group_reader import remove_members
from runtime.kafka.topics import ensure_topics
from runtime.settings import load_settings
from streams.topics import streams_topics
from tests.support.engines import check_mark
from tests.support.kafka_format import format_node

#: Below the ephemeral range, so that the system does not reuse the port of a node that is down.
PORTS = range(20_000, 32_000)
TIMEOUT = 60.0
POLL_INTERVAL = 0.02
#: Of each topic of the pipeline, unless a test says otherwise.
PARTITIONS = 4


def _ports_of_this_process() -> Iterator[int]:
    """The ports from a random one on, again and again.

    Each process of pytest has its own: none opens a port that another has chosen and will open soon.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = PORTS[number % count :: count]
    start = random.randrange(len(own))
    return cycle((*own[start:], *own[:start]))


_own_ports = _ports_of_this_process()


class ApacheKafka:
    """A cluster of `size` nodes, each with one listener for clients.

    Args:
        protocol: of the listener: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        properties: what the protocol needs (key stores, mechanisms, JAAS), added to each node's properties.
        format_options: options of kafka-storage, such as SCRAM users.
        voters: the first so many nodes are also controllers; default all. A cluster of five with three
            voters survives the loss of the two others. Internal topics get a replica per voter.
        port: of the first node, for clients; default a free one.
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
        settings = load_settings()
        kafka = with_class_cache(installed_kafka(settings.java, settings.cache_folder))
        ports = free_ports(size + (voters or size))
        self._voters = dict(enumerate(ports[size:], 1))
        clients = [port or ports[0], *ports[1:size]]
        security = {"listener.security.protocol.map": f"CLIENTS:{protocol},CONTROLLER:PLAINTEXT"}
        # By default an idle controller writes a record every half second: half of the CPU of an idle node.
        idle = {"metadata.max.idle.interval.ms": "0"} if size == 1 else {}
        self.nodes = []
        for number, own_port in enumerate(clients, 1):
            folder = home / f"node{number}"
            own = node_properties(number, own_port, folder / "data", self._voters) | security | idle
            self.nodes.append(
                Node(kafka, folder, own_port, own | dict(properties or {}), folder / "output.log")
            )

    @property
    def address(self) -> str:
        """The value for `bootstrap_servers`: `host:port,host:port`."""
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Format and start all nodes, and wait until they accept connections."""
        check_mark()
        with ThreadPoolExecutor(len(self.nodes)) as threads:
            list(threads.map(self._format, self.nodes))
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()

    def _format(self, node: Node) -> None:
        format_node(node, node.number in self._voters, self.cluster, self._format_options)

    def kill(self) -> None:
        """Kill all nodes; a cluster is not started again after a run."""
        for node in self.nodes:
            node.kill()


@asynccontextmanager
async def own_kafka(home: Path, port: int | None = None) -> AsyncIterator[ApacheKafka]:
    """Run a cluster of one node for the block, for a test that kills, restarts or replaces it."""
    cluster = ApacheKafka(home, port=port)
    try:
        await asyncio.to_thread(cluster.start)
        yield cluster
    finally:
        cluster.kill()


@asynccontextmanager
async def frozen(node: Node) -> AsyncIterator[None]:
    """Suspend the node for the block."""
    node.pause()
    try:
        yield
    finally:
        node.resume()


def free_ports(count: int) -> list[int]:
    """Return free loopback ports outside of the ephemeral range, each only once until all were used."""
    free: list[int] = []
    for port in islice(_own_ports, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        free.append(port)
        if len(free) == count:
            return free
    raise KafkaFailed(f"There are no {count} free ports in {PORTS}")


@asynccontextmanager
async def open_admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect an admin client for the block."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def create_topics(kafka: str, partitions: int = PARTITIONS) -> None:
    """Create all topics of the pipeline, as its processes do."""
    specs = [*gateway_topics(partitions, 1), *streams_topics(partitions, 1)]
    await ensure_topics({"bootstrap_servers": kafka.split(",")}, specs, timeout=TIMEOUT)


async def create_other_topics(
    kafka: str, *names: str, partitions: int = 2, config: Mapping[str, str] | None = None
) -> None:
    """Create topics that are not specified as those of the pipeline."""
    topics = [NewTopic(name, partitions, 1, topic_configs=dict(config or {})) for name in names]
    async with open_admin(kafka) as admin:
        created = await admin.create_topics(topics)
    assert not any(code for _, code, *_ in created.topic_errors), created.topic_errors


async def delete_topics(kafka: str, *names: str) -> None:
    """Delete topics, and wait until brokers no longer list them."""
    async with open_admin(kafka) as admin, asyncio.timeout(TIMEOUT):
        while present := [name for name in names if name in await admin.list_topics()]:
            await admin.delete_topics(present)


async def set_topic_config(kafka: str, topic: str, config: Mapping[str, str]) -> None:
    """Replace the configuration of a topic."""
    async with open_admin(kafka) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(config))])


async def wipe(address: str) -> None:
    """Delete all topics and consumer groups, including groups with members that were killed."""
    async with open_admin(address) as admin, asyncio.timeout(TIMEOUT):
        await _wipe_groups(admin)
        await _wipe_topics(admin)


async def _wipe_groups(admin: AIOKafkaAdminClient) -> None:
    """Delete all groups, once Kafka has loaded them. The first request makes it create their topic."""
    while True:
        try:
            await admin.find_coordinator("any")
            while groups := [name for name, _ in await admin.list_consumer_groups()]:
                for group in groups:
                    await delete_group(admin, group)
            return
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
            await asyncio.sleep(POLL_INTERVAL)


async def delete_group(admin: AIOKafkaAdminClient, group: str) -> None:
    """Delete a group, including members that were killed."""
    await remove_members(admin, group)
    await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))


async def _wipe_topics(admin: AIOKafkaAdminClient) -> None:
    """Delete all topics. Metadata of new topics arrives with a delay, in order: wait for a last one first."""
    last = f"wipe-{uuid.uuid4().hex}"
    await admin.create_topics([NewTopic(last, 1, 1)])
    while last not in await admin.list_topics():  # noqa: ASYNC110
        await asyncio.sleep(POLL_INTERVAL)
    while topics := [name for name in await admin.list_topics() if not name.startswith("__")]:
        await admin.delete_topics(topics)
