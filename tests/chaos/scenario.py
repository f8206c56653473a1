"""The stage of a scenario: a folder, a cluster, workers that are restarted when they end, and what failed."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich.console import Console

from embedded.kafka.node import KafkaFailed
from tests.chaos.cluster import Service
from tests.chaos.observer import Unavailable
from tests.chaos.placement import PARTITIONS
from tests.chaos.quiesce import NotQuiescent, ready
from tests.chaos.report import print_tails
from tests.support.kafka import ApacheKafka, free_ports

#: As short as in a chaos run.
SESSION_SECONDS = 6.0


class Stage:
    """Where a scenario takes place. It says what happens, and collects each requirement that is not met."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        self.console = console
        self.services: dict[str, Service] = {}
        self.failures: list[str] = []
        self._began = time.monotonic()
        self._log = (folder / "chaos.log").open("w")

    def say(self, line: str) -> None:
        """Write it to `chaos.log`."""
        self._log.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - self._began:7.1f} s  {line}\n")
        self._log.flush()

    def show(self, line: str) -> None:
        """Write it to `chaos.log` and to the terminal."""
        self.say(line)
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def require(self, holds: bool, what: str) -> None:
        """Note a requirement that is not met; the scenario goes on."""
        if not holds:
            self.failures.append(what)
            self.show(f"NOT MET: {what}")

    def close(self) -> None:
        self._log.close()

    @contextmanager
    def kafka(self, size: int, voters: int | None = None) -> Iterator[ApacheKafka]:
        """A cluster, running until the end of the block."""
        cluster = ApacheKafka(self.folder / "kafka", size, voters=voters)
        try:
            cluster.start()
            self.say(f"Kafka runs on {cluster.address}")
            yield cluster
        finally:
            cluster.end()

    @asynccontextmanager
    async def workers(
        self, kafka: str, streams: int = 2, sinks: int = 2, **settings: object
    ) -> AsyncIterator[None]:
        """Workers (with ClickHouse, if there are sinks) in `services`, once all of them are ready."""
        count = {"streams": streams, "sinks": sinks}
        ports = iter(free_ports(1 + streams + sinks))
        clickhouse = f"127.0.0.1:{next(ports)}"
        if sinks:
            self._add_clickhouse(clickhouse)
        shared = {
            "kafka": kafka,
            "clickhouse": f"http://default:@{clickhouse}/postbacks",
            "partitions": PARTITIONS,
            "session_timeout": SESSION_SECONDS,
        } | settings
        ops = []
        for group in count:
            for number in range(1, count[group] + 1):
                ops.append(f"127.0.0.1:{next(ports)}")
                self._add_worker(group, number, shared | {"ops": ops[-1]})
        background = [asyncio.create_task(service.keep(self.say)) for service in self.services.values()]
        try:
            await ready(ops)
            self.say("all workers are ready")
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*(service.end(signal.SIGKILL) for service in self.services.values()))

    def _add_clickhouse(self, address: str) -> None:
        port = address.rpartition(":")[2]
        arguments = ["embedded", "clickhouse", "--port", port, "--data", str(self.folder / "clickhouse")]
        self.services["clickhouse"] = Service("clickhouse", arguments, {}, self.folder)

    def _add_worker(self, group: str, number: int, settings: Mapping[str, object]) -> None:
        name = f"{group}-{number}"
        given = {**settings, "data": self.folder / "data" / name}
        environment = {f"POSTBACKS_{key.upper()}": str(value) for key, value in given.items()}
        self.services[name] = Service(name, [group], environment, self.folder)


def play(name: str, scenario: Callable[[Stage], Awaitable[None]], console: Console) -> bool:
    """Play a scenario in a folder of its own; whether all of its requirements were met.

    Otherwise they and the last lines of each process's log are printed.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    console.print(f"{name}: what happens is written to {folder}/chaos.log", highlight=False)
    stage = Stage(folder, console)
    try:
        asyncio.run(_played(stage, scenario))
    except (NotQuiescent, KafkaFailed, Unavailable, TimeoutError) as error:
        stage.require(False, str(error) or type(error).__name__)
    finally:
        stage.close()
    if stage.failures:
        print_tails(folder, console)
        for failure in stage.failures:
            console.print(f"Failed: {failure}", markup=False, soft_wrap=True)
    return not stage.failures


async def _played(stage: Stage, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    await scenario(stage)
