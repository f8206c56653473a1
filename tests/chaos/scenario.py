"""Runs a scenario on a stage: a folder, a Kafka cluster, supervised workers, and unmet requirements."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich.console import Console

from embedded.kafka.node import KafkaFailed
from tests.chaos.cluster import Service, clickhouse_service
from tests.chaos.observer import ObservationFailed
from tests.chaos.placement import PARTITIONS
from tests.chaos.quiesce import NotQuiescent, wait_ready
from tests.chaos.report import print_tails
from tests.support.kafka import ApacheKafka, free_ports

#: Seconds; as short as in a chaos run.
SESSION_TIMEOUT = 6.0


class Stage:
    """The environment of a scenario. Logs what happens, and collects unmet requirements in `failures`."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        self.console = console
        self.services: dict[str, Service] = {}
        self.failures: list[str] = []
        self._began = time.monotonic()
        self._file = (folder / "chaos.log").open("w")

    def log(self, line: str) -> None:
        """Write a line to `chaos.log`."""
        self._file.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - self._began:7.1f} s  {line}\n")
        self._file.flush()

    def show(self, line: str) -> None:
        """Write a line to `chaos.log` and to the terminal."""
        self.log(line)
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def require(self, condition: bool, requirement: str) -> None:
        """Record a requirement that is not met; the scenario continues."""
        if not condition:
            self.failures.append(requirement)
            self.show(f"NOT MET: {requirement}")

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def kafka(self, size: int, voters: int | None = None) -> Iterator[ApacheKafka]:
        """Run a cluster for the block."""
        cluster = ApacheKafka(self.folder / "kafka", size, voters=voters)
        try:
            cluster.start()
            self.log(f"Kafka started on {cluster.address}")
            yield cluster
        finally:
            cluster.kill()

    @asynccontextmanager
    async def workers(
        self, kafka: str, streams: int = 2, sinks: int = 2, **settings: object
    ) -> AsyncIterator[None]:
        """Run workers (and ClickHouse, if there are sinks) for the block, which begins when all are ready.

        They are in `services` by name.
        """
        count = {"streams": streams, "sinks": sinks}
        ports = iter(free_ports(1 + streams + sinks))
        clickhouse = f"127.0.0.1:{next(ports)}"
        if sinks:
            port = int(clickhouse.rpartition(":")[2])
            self.services["clickhouse"] = clickhouse_service(port, self.folder)
        shared = {
            "kafka": kafka,
            "clickhouse": f"http://default:@{clickhouse}/postbacks",
            "partitions": PARTITIONS,
            "session_timeout": SESSION_TIMEOUT,
        } | settings
        ops = []
        for group in count:
            for number in range(1, count[group] + 1):
                name = f"{group}-{number}"
                ops.append(f"127.0.0.1:{next(ports)}")
                own = shared | {"ops": ops[-1], "data": self.folder / "data" / name}
                self.services[name] = Service(name, [group], own, self.folder)
        background = [asyncio.create_task(service.supervise(self.log)) for service in self.services.values()]
        try:
            await wait_ready(ops)
            self.log("all workers ready")
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*(service.stop(signal.SIGKILL) for service in self.services.values()))


@contextmanager
def silent_stage(folder: Path) -> Iterator[Stage]:
    """Open a stage that prints nothing, for a short run among the tests."""
    stage = Stage(folder, Console(quiet=True))
    try:
        yield stage
    finally:
        stage.close()


def run_scenario(name: str, scenario: Callable[[Stage], Awaitable[None]], console: Console) -> bool:
    """Run a scenario in a new folder; return whether all requirements were met.

    Prints unmet requirements and the last lines of each process's log.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    console.print(f"{name}: log in {folder}/chaos.log", highlight=False)
    stage = Stage(folder, console)
    try:
        asyncio.run(_run(stage, scenario))
    except (NotQuiescent, KafkaFailed, ObservationFailed, TimeoutError) as error:
        stage.require(False, str(error) or type(error).__name__)
    finally:
        stage.close()
    if stage.failures:
        print_tails(folder, console)
        for failure in stage.failures:
            console.print(f"Failed: {failure}", markup=False, soft_wrap=True)
    return not stage.failures


async def _run(stage: Stage, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    await scenario(stage)
