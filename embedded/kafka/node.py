"""One node of Apache Kafka as a process: formatted, started, stopped, killed.

Its folder holds its properties, data and log. `format`, `wait_ready`, `stop` and `kill` block: call them from
a thread where an event loop is running. `start` does not block, and must be called from a thread that
outlives the node: Linux kills a node together with the thread that started it.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from embedded.kafka.installation import Kafka
from embedded.ports import HOST
from runtime.errors import StartupError
from runtime.process import exit_with_parent

START_TIMEOUT, STOP_TIMEOUT = 120.0, 20.0
POLL_INTERVAL = 0.05
STANDARD_ERROR = 2
#: Kafka's marker of a clean shutdown, which it removes when it starts.
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"


class KafkaFailed(StartupError):
    """A node did not start. The text ends with the last lines of its log."""


class Node:
    """A node; its properties must have the listener for clients on `port` of loopback."""

    def __init__(
        self, kafka: Kafka, home: Path, port: int, properties: Mapping[str, str], output: Path | None = None
    ) -> None:
        """
        Args:
            output: file for the process's output (warnings and errors); None: our standard error.
        """
        self.number = int(properties["node.id"])
        self.home = home
        self.port = port
        self.data = Path(properties["log.dirs"])
        self.process: subprocess.Popen[bytes] | None = None
        self._kafka = kafka
        self._properties = properties
        self._output = output

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def formatted(self) -> bool:
        """Whether it has data from an earlier run."""
        return (self.data / "meta.properties").is_file()

    def format(self, cluster: str, options: Sequence[str] = ()) -> None:
        """Initialise the data folder for a cluster id; `options` go to kafka-storage (`--add-scram …`).

        Raises:
            KafkaFailed: the tool failed.
        """
        config = self._write_properties()
        program = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config), *options)
        done = subprocess.run(
            self._kafka.command(self._log, *program), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise KafkaFailed(f"Kafka cannot format {self.data}:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start or restart the process, without waiting until it is ready."""
        config = self._write_properties()
        with self._output.open("ab") if self._output else nullcontext() as output:
            self.process = subprocess.Popen(
                self._kafka.command(self._log, "kafka.Kafka", str(config)),
                stdin=subprocess.DEVNULL,
                stdout=output or STANDARD_ERROR,  # standard output is for the parent's own lines
                stderr=output,
                start_new_session=True,  # Ctrl-C goes to the parent only, which stops its children in order
                preexec_fn=exit_with_parent(),
            )

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until the node accepts connections.

        Raises:
            KafkaFailed: it exited, or took longer than `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self.running and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            time.sleep(POLL_INTERVAL)  # a port opens without notification
        tail = self._log.read_text(errors="replace").splitlines()[-20:] if self._log.exists() else []
        raise KafkaFailed("\n".join([f"Kafka did not start on {self.address}:", *tail]))

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open, requests get no response."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process at once; its writes survive in the page cache of the system."""
        if self.running:
            self._signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Shut down cleanly; kill the node after `timeout` seconds, as one without a quorum never exits."""
        if self.process and self.running:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def _log(self) -> Path:
        return self.home / "kafka.log"

    def _write_properties(self) -> Path:
        self.home.mkdir(parents=True, exist_ok=True)
        config = self.home / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        return config

    def _signal(self, number: signal.Signals) -> None:
        assert self.process, "the node was never started"
        os.kill(self.process.pid, number)


def node_properties(number: int, port: int, data: Path, voters: Mapping[int, int]) -> dict[str, str]:
    """Return the properties of a node: a broker, and also a controller if it is one of the voters.

    Internal topics get a replica per voter.

    Args:
        port: the loopback port of the listener for clients.
        voters: ports of the controllers, by node.
    """
    replicas, in_sync = str(len(voters)), str(max(1, len(voters) - 1))
    listeners = [f"CLIENTS://{HOST}:{port}"]
    if number in voters:
        listeners.append(f"CONTROLLER://{HOST}:{voters[number]}")
    return {
        "process.roles": "broker,controller" if number in voters else "broker",
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{voter}@{HOST}:{at}" for voter, at in voters.items()),
        "listeners": ",".join(listeners),
        "advertised.listeners": listeners[0],
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
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
    }


def new_cluster_id() -> str:
    """Generate a cluster id as Kafka does: 16 bytes in URL-safe base64."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # kafka-storage would parse it as an option
    return text
