"""Apache Kafka and the ClickHouse server as containers, from the images of docker-compose.yml.

Used where a Docker daemon answers and has the images, or can pull them within a few minutes.
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
#: Seconds that the daemon may be silent, and that all pulling may take.
SILENT_SECONDS, PULL_SECONDS = 15, 300
START_SECONDS = 120
KAFKA_PORT, HTTP_PORT = 9092, 8123


def image_of(service: str) -> str:
    """The image that the compose file has for a service."""
    text = COMPOSE.read_text()
    found = re.search(rf"^  {service}:\n    image: (\S+)$", text, re.MULTILINE)
    assert found, f"{COMPOSE} has no image for {service}"
    return found[1]


def why_not(*services: str) -> str:
    """Why these cannot run as containers here, or an empty string when they can."""
    try:
        docker = DockerClient(timeout=SILENT_SECONDS).client
        docker.ping()
    except DockerException:
        return "no Docker daemon answers"
    deadline = time.monotonic() + PULL_SECONDS
    for image in map(image_of, services):
        if problem := _missing(docker.api, image, deadline):
            return problem
    if not testcontainers_config.ryuk_disabled:
        # It only tidies up after a run that was killed: nothing to do without the tests for.
        missing = _missing(docker.api, testcontainers_config.ryuk_image, deadline)
        testcontainers_config.ryuk_disabled = bool(missing)
    return ""


def _missing(api: Any, image: str, deadline: float) -> str:
    """Why an image is not to be had, pulled at most until then; an empty string when it is there."""
    try:
        api.inspect_image(image)
    except ImageNotFound:
        pass
    else:
        return ""
    try:
        for said in api.pull(image, stream=True, decode=True):
            if "error" in said:
                return f"{image} cannot be pulled: {said['error']}"
            if time.monotonic() > deadline:
                return f"{image} cannot be pulled within {PULL_SECONDS} s"
    except (DockerException, OSError) as error:
        return f"{image} cannot be pulled: {type(error).__name__}"
    return ""


class KafkaContainer(DockerContainer):
    """One KRaft node. What it must advertise is known only once its port is mapped: it waits for a file."""

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
        """For `bootstrap_servers`: `host:port`."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(KAFKA_PORT)}"

    def start(self) -> KafkaContainer:
        super().start()
        script = f"export KAFKA_ADVERTISED_LISTENERS=CLIENTS://{self.address}\nexec /etc/kafka/docker/run\n"
        self.copy_into_container(script.encode(), self._SCRIPT)
        ready = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS)
        ready.wait_until_ready(self)
        return self


@contextmanager
def kafka_container() -> Iterator[str]:
    """The address of a broker that lives as long as the block."""
    with KafkaContainer() as kafka:
        yield kafka.address


@contextmanager
def clickhouse_container() -> Iterator[str]:
    """`http://user:password@host:port` of a server that lives as long as the block."""
    ready = HttpWaitStrategy(HTTP_PORT, "/ping").with_startup_timeout(START_SECONDS)
    server = DockerContainer(image_of("clickhouse")).with_exposed_ports(HTTP_PORT).waiting_for(ready)
    with server.with_envs(CLICKHOUSE_USER="tests", CLICKHOUSE_PASSWORD="s3cret"):
        host, port = server.get_container_host_ip(), server.get_exposed_port(HTTP_PORT)
        yield f"http://tests:s3cret@{host}:{port}"
