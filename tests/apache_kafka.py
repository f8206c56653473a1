"""Apache Kafka from its Maven jars, without containers: one node or a cluster, killed and started at will.

The jars come from Maven Central once, into `.cache/` of the work tree. Every cluster has ports, an id and a
folder of its own, so that many run side by side on a machine.
"""

from __future__ import annotations

import base64
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VERSION = "4.4.0"
JARS = Path(__file__).parent.parent / ".cache" / f"kafka-{VERSION}"
JVM = (
    *("-Xms128m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
)
#: Below those that the system gives to outgoing connections: a node that is down keeps its own.
PORTS = range(20_000, 32_000)
START_SECONDS = 120.0
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


class KafkaFailed(Exception):
    """A node did not come up; ends with the last lines of its log."""


def missing_tools() -> str:
    """Why Apache Kafka cannot run here, or an empty string when it can."""
    absent = [tool for tool in ("java", "mvn") if not shutil.which(tool)]
    return f"{' and '.join(absent)} not found" if absent else ""


def classpath() -> str:
    """The jars; downloaded once, also when several runs begin at the same time."""
    JARS.parent.mkdir(exist_ok=True)
    with (JARS.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not JARS.is_dir():
            fetched = JARS.with_suffix(".part")
            shutil.rmtree(fetched, ignore_errors=True)
            fetched.mkdir()
            (fetched / "pom.xml").write_text(POM)
            subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"],
                cwd=fetched,
                check=True,
            )
            fetched.rename(JARS)
    return f"{JARS}/*"


class Node:
    """One KRaft node: a broker, and a controller if it votes. Its folder has its properties, data and log."""

    def __init__(self, number: int, home: Path, port: int) -> None:
        self.number = number
        self.home = home
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def format(self, properties: Mapping[str, str], cluster: str, options: Sequence[str]) -> None:
        """Write its properties and an empty log. `options` go to kafka-storage (`--add-scram …`)."""
        self.home.mkdir(parents=True)
        config = self.home / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        done = subprocess.run(
            [
                *("java", *JVM, "-cp", classpath(), "kafka.tools.StorageTool", "format"),
                *("-t", cluster, "-c", str(config), *options),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise KafkaFailed(f"Node {self.number} cannot be formatted:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the process, for the first time or again, without waiting for it."""
        with (self.home / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                ["java", *JVM, "-cp", classpath(), "kafka.Kafka", str(self.home / "server.properties")],
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the tests; they end it in their order
            )

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when it takes connections.

        Raises:
            KafkaFailed: it ended instead, or took longer than that.
        """
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)  # there is no event to wait for: a port does not tell when it opens
        tail = (self.home / "server.log").read_text(errors="replace").splitlines()[-20:]
        raise KafkaFailed(f"Node {self.number} on {self.address} did not start:\n" + "\n".join(tail))

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut would end the process (the system's page cache survives)."""
        if self.running:
            self._signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self, seconds: float = 20.0) -> None:
        """End it in good order; one whose quorum is gone would never end, and is killed."""
        if self.process and self.running:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process, "it was never started"
        os.kill(self.process.pid, number)


class ApacheKafka:
    """A cluster of some nodes, with one listener for clients on each.

    The first `voters` nodes (all by default) are controllers, too, and vote; a cluster of five with three
    voters survives the loss of the two others. Internal topics have a replica for each voter.

    `protocol` is that listener's (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL); what such a one needs besides
    (key stores, mechanisms, JAAS) goes into `properties`, users of SCRAM into `format_options`.
    """

    def __init__(
        self,
        home: Path,
        size: int = 1,
        protocol: str = "PLAINTEXT",
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
        voters: int | None = None,
    ) -> None:
        self.cluster = _cluster_id()
        self.protocol = protocol
        self.properties = dict(properties or {})
        self.format_options = format_options
        ports = free_ports(size + (voters or size))
        self.nodes = [Node(i + 1, home / f"node{i + 1}", ports[i]) for i in range(size)]
        #: Ports of the controllers, which the first nodes are.
        self._controllers = ports[size:]

    @property
    def address(self) -> str:
        """For `bootstrap_servers`: `host:port,host:port`."""
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Format and start every node, and wait until all take connections."""
        classpath()
        with ThreadPoolExecutor(len(self.nodes)) as threads:
            list(threads.map(self._format, self.nodes))
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()

    def end(self) -> None:
        """Kill every node; a cluster is for one run and keeps nothing."""
        for node in self.nodes:
            node.kill()

    def _format(self, node: Node) -> None:
        node.format(self._properties_of(node), self.cluster, self.format_options)

    def _properties_of(self, node: Node) -> dict[str, str]:
        count = len(self._controllers)
        voters = [f"{number}@127.0.0.1:{port}" for number, port in enumerate(self._controllers, 1)]
        votes = node.number <= count
        listeners = f"CLIENTS://{node.address}"
        if votes:
            listeners += f",CONTROLLER://127.0.0.1:{self._controllers[node.number - 1]}"
        replicas, in_sync = str(count), str(max(1, count - 1))
        return {
            "process.roles": "broker,controller" if votes else "broker",
            "node.id": str(node.number),
            "controller.quorum.voters": ",".join(voters),
            "listeners": listeners,
            "advertised.listeners": f"CLIENTS://{node.address}",
            "inter.broker.listener.name": "CLIENTS",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": f"CLIENTS:{self.protocol},CONTROLLER:PLAINTEXT",
            "log.dirs": str(node.home / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "log.cleaner.dedupe.buffer.size": str(16 * 2**20),
        } | self.properties


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


def _cluster_id() -> str:
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # a command line would take that one for an option
    return text
