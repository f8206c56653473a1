"""Apache Kafka and the ClickHouse server as containers, from the images of docker-compose.yml.

Used where a Docker daemon is running and has the images, or can pull them within a few minutes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy

COMPOSE = Path(__file__).parent.parent.parent / "docker-compose.yml"
#: Seconds to wait for the daemon, and for pulling all images.
PING_TIMEOUT, PULL_TIMEOUT = 15, 300
START_TIMEOUT = 120
KAFKA_PORT, HTTP_PORT = 9092, 8123


def image_of(service: str) -> str:
    """Return the image of a service in the compose file."""
    text = COMPOSE.read_text()
    match = re.search(rf"^  {service}:\n    image: (\S+)$", text, re.MULTILINE)
    assert match, f"{COMPOSE} has no image for {service}"
    return match[1]


def unavailable_reason(*services: str) -> str:
    """Return why the services cannot run as containers here; an empty string if they can."""
    try:
        docker = DockerClient(timeout=PING_TIMEOUT).client
        docker.ping()
    except DockerException:
        return "no Docker daemon is running"
    deadline = time.monotonic() + PULL_TIMEOUT
    for image in map(image_of, services):
        if reason := _ensure_image(docker.api, image, deadline):
            return reason
    if not testcontainers_config.ryuk_disabled:
        # Ryuk only cleans up after runs that were killed: the tests do not need it.
        error = _ensure_image(docker.api, testcontainers_config.ryuk_image, deadline)
        testcontainers_config.ryuk_disabled = bool(error)
    return ""


def _ensure_image(api: Any, image: str, deadline: float) -> str:
    """Pull the image if it is missing, at most until `deadline`; return the error, or an empty string."""
    try:
        api.inspect_image(image)
    except ImageNotFound:
        pass
    else:
        return ""
    try:
        for event in api.pull(image, stream=True, decode=True):
            if "error" in event:
                return f"{image} cannot be pulled: {event['error']}"
            if time.monotonic() > deadline:
                return f"{image} cannot be pulled within {PULL_TIMEOUT} s"
    except (DockerException, OSError) as error:
        return f"{image} cannot be pulled: {type(error).__name__}"
    return ""


class KafkaContainer(DockerContainer):
    """One KRaft node. Its address is known only once its port is mapped, so it waits for a script."""

    _SCRIPT = "/tmp/start"

    def __init__(self) -> None:
        super().__init__(image_of("kafka"))
        self.with_exposed_ports(KAFKA_PORT)
        self.with_command(
            ["bash", "-c", f"until [ -f {self._SCRIPT} ]; do sleep 0.1; done; . {self._SCRIPT}"]
        )
        self.with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
            KAFKA_LISTENERS=f"CLIENTS://:{KAFKA_PORT},CONTROLLER://:9093",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_INTER_BROKER_LISTENER_NAME="CLIENTS",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS="1000",
        )

    @property
    def address(self) -> str:
        """The value for `bootstrap_servers`: `host:port`."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(KAFKA_PORT)}"

    def start(self) -> KafkaContainer:
        super().start()
        script = f"export KAFKA_ADVERTISED_LISTENERS=CLIENTS://{self.address}\nexec /etc/kafka/docker/run\n"
        self.copy_into_container(script.encode(), self._SCRIPT)
        ready = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_TIMEOUT)
        ready.wait_until_ready(self)
        return self


@contextmanager
def kafka_container() -> Iterator[str]:
    """Run a broker for the block; yield its address."""
    with KafkaContainer() as kafka:
        yield kafka.address


@contextmanager
def clickhouse_container() -> Iterator[str]:
    """Run a server for the block; yield `http://user:password@host:port`."""
    ready = HttpWaitStrategy(HTTP_PORT, "/ping").with_startup_timeout(START_TIMEOUT)
    server = DockerContainer(image_of("clickhouse")).with_exposed_ports(HTTP_PORT).waiting_for(ready)
    with server.with_envs(CLICKHOUSE_USER="tests", CLICKHOUSE_PASSWORD="s3cret"):
        host, port = server.get_container_host_ip(), server.get_exposed_port(HTTP_PORT)
        yield f"http://tests:s3cret@{host}:{port}"
