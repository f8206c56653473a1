"""One node of Apache Kafka as a process: formatted, started, stopped, killed.

Its folder holds its properties, its data, and its log. Formatting, waiting and stopping block; run them in a
thread where a loop must go on. `start` does not block, and its thread must outlive the node: Linux kills a
node with the thread that started it.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from embedded.errors import CannotServe
from embedded.ports import HOST
from runtime.process import exit_with_thread

LOG4J = Path(__file__).parent / "log4j2.properties"
JVM = (
    *("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
    f"-Dlog4j2.configurationFile={LOG4J}",
)
START_TIMEOUT, STOP_TIMEOUT = 120.0, 20.0
POLL_INTERVAL = 0.05
STANDARD_ERROR = 2
#: Kafka's own mark of a shutdown in good order, which it removes when it starts.
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"


class KafkaFailed(CannotServe):
    """A node did not start; ends with the last lines of its log."""


@dataclass(frozen=True)
class Kafka:
    """Apache Kafka as installed here: a Java and its jars."""

    java: Path
    jars: Sequence[Path]

    def command(self, log: Path, program: str, *arguments: str) -> list[str]:
        """The command line of one of Kafka's programs, which writes its log there."""
        classpath = os.pathsep.join(map(str, self.jars))
        return [str(self.java), *JVM, f"-Dpostbacks.log={log}", "-cp", classpath, program, *arguments]


class Node:
    """A node whose properties name `port`, the one for clients on loopback."""

    def __init__(
        self, kafka: Kafka, home: Path, port: int, properties: Mapping[str, str], output: Path | None = None
    ) -> None:
        """
        Args:
            output: the file for what the process prints, warnings and errors; None: our standard error.
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
        """Whether it has data from an earlier start."""
        return (self.data / "meta.properties").is_file()

    def format(self, cluster: str, options: Sequence[str] = ()) -> None:
        """Write an empty log of that cluster id. `options` go to kafka-storage (`--add-scram …`).

        Raises:
            KafkaFailed: Kafka refuses to.
        """
        config = self._write_properties()
        program = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config), *options)
        done = subprocess.run(
            self._kafka.command(self._log, *program), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise KafkaFailed(f"Kafka cannot format {self.data}:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the process, for the first time or again, without waiting for it."""
        config = self._write_properties()
        with self._output.open("ab") if self._output else nullcontext() as output:
            self.process = subprocess.Popen(
                self._kafka.command(self._log, "kafka.Kafka", str(config)),
                stdin=subprocess.DEVNULL,
                stdout=output or STANDARD_ERROR,  # the parent's standard output is for its own lines
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the parent, which stops it in its order
                preexec_fn=exit_with_thread(os.getpid()) if sys.platform == "linux" else None,
            )

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Return when it takes connections.

        Raises:
            KafkaFailed: it ended instead, or took longer.
        """
        deadline = time.monotonic() + timeout
        while self.running and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            time.sleep(POLL_INTERVAL)  # a port does not tell when it opens
        tail = self._log.read_text(errors="replace").splitlines()[-20:] if self._log.exists() else []
        raise KafkaFailed("\n".join([f"Kafka did not start on {self.address}:", *tail]))

    def pause(self) -> None:
        """Suspend it: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it wrote is in the system's page cache, which survives it."""
        if self.running:
            self._signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Shut it down in good order. One whose quorum is gone never ends by itself, and is killed."""
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
        assert self.process, "it was never started"
        os.kill(self.process.pid, number)


def node_properties(number: int, port: int, data: Path, voters: Mapping[int, int]) -> dict[str, str]:
    """Properties of a node of a cluster on this machine: broker, and controller if it is among the voters.

    Internal topics have a copy for each voter.

    Args:
        port: of its clients' listener, on loopback.
        voters: the controllers' ports, by node.
    """
    copies, in_sync = str(len(voters)), str(max(1, len(voters) - 1))
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
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.cleaner.dedupe.buffer.size": str(16 * 2**20),
    }


def new_cluster_id() -> str:
    """An id as Kafka makes them: 16 bytes in URL-safe base64."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # a command line would take that one for an option
    return text
