"""The processes of a chaos run, and how faults are injected into them."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from embedded.kafka.node import Node
from streams.contact import CONTACTS
from streams.message import MESSAGES
from tests.chaos.faults import Fault
from tests.support.damage import flip_bytes
from tests.support.kafka import delete_topics
from tests.support.process import ROOT, environment

PACKAGES = ("cli", "embedded", "gateway", "operations", "runtime", "sending", "simulator", "sinks", "streams")
#: Seconds until an exited process is restarted, as systemd, compose and Kubernetes do.
RESTART_DELAY, POLL_INTERVAL = 0.5, 0.1
#: Seconds that a process gets to shut down, as in production.
STOP_TIMEOUT = 30.0

Log = Callable[[str], None]


@cache
def frozen_code() -> Path:
    """Copy the code for the processes, so that an edit during the run does not change it."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


class Service:
    """A process of the pipeline, which is restarted when it exits while `enabled`."""

    def __init__(self, name: str, arguments: list[str], settings: Mapping[str, object], folder: Path) -> None:
        self.name = name
        self.restarts = 0
        #: Exits without a fault. A process may exit when only a restart can help.
        self.unexpected_exits = 0
        self._arguments = arguments
        self._environment = environment(**settings)
        self._data = Path(str(settings.get("data", folder)))
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: subprocess.Popen[bytes] | None = None
        self.enabled = True

    def start(self) -> None:
        with self._log.open("ab") as log:
            log.write(f"======== {time.strftime('%H:%M:%S')} start\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                cwd=frozen_code(),
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def supervise(self, log: Log) -> None:
        """Start the process, and restart it whenever it exits while enabled; until cancelled."""
        while True:
            if self.enabled and (self._process is None or self._process.poll() is not None):
                if self._process is not None:
                    self.restarts += 1
                    if self._process is not self._stopped:
                        self.unexpected_exits += 1
                        log(f"{self.name} exited unexpectedly, status {self._process.returncode}")
                    await asyncio.sleep(RESTART_DELAY)
                if self.enabled:
                    self.start()
            await asyncio.sleep(POLL_INTERVAL)

    async def wait(self) -> int:
        """Wait until it exits; return the status."""
        assert self._process
        return await asyncio.to_thread(self._process.wait)

    async def stop(self, number: signal.Signals) -> float:
        """Send the signal and wait for the exit; kill after `STOP_TIMEOUT`. Return the seconds it took."""
        self.enabled = False
        began = time.monotonic()
        process = self._process
        if process and process.poll() is None:
            self._stopped = process
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            try:
                await asyncio.to_thread(process.wait, STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return time.monotonic() - began

    async def inject(self, fault: Fault) -> str:
        """Inject the fault and wait until it is over; return a remark, or an empty string."""
        if fault.kind == "freeze":
            process = self._process
            if process and process.poll() is None:
                process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(fault.duration)
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
            return ""
        took = await self.stop(signal.SIGKILL if fault.kind == "kill" else signal.SIGTERM)
        await asyncio.sleep(fault.duration)
        if fault.kind == "damage":
            remark = await asyncio.to_thread(self._damage)
            self.enabled = True
            return remark
        self.enabled = True
        return f"exited in {took:.1f} s" + (", killed after the timeout" if took > STOP_TIMEOUT else "")

    def _damage(self) -> str:
        """Flip bytes in its largest file of states."""
        files = [*self._data.glob("states/**/*.sst")]
        if not files:
            return "has no files of states yet"
        largest = max(files, key=lambda file: file.stat().st_size)
        flip_bytes(largest.parent)
        return f"damaged {largest.relative_to(self._data)}"


def clickhouse_service(port: int, folder: Path) -> Service:
    """An embedded ClickHouse."""
    arguments = ["embedded", "clickhouse", "--port", str(port), "--data", str(folder / "clickhouse")]
    return Service("clickhouse", arguments, {}, folder)


async def reconcile(kafka: str, clickhouse: str, folder: Path) -> int:
    """Run `postbacks reconcile`, with its log in the folder; return the exit status."""
    service = Service("reconcile", ["cli", "reconcile"], {"kafka": kafka, "clickhouse": clickhouse}, folder)
    service.start()
    return await service.wait()


class Broker:
    """A node of Apache Kafka. `lock` serializes the faults of a cluster.

    However long a node takes to start, the next fault of its cluster waits until it is ready.
    """

    def __init__(self, name: str, node: Node, lock: asyncio.Lock) -> None:
        self.name = name
        self.lock = lock
        self._node = node

    async def inject(self, fault: Fault) -> str:
        async with self.lock:
            await self.inject_locked(fault)
        return ""

    async def inject_locked(self, fault: Fault) -> None:
        """Inject the fault; the caller holds the lock."""
        if fault.kind == "freeze":
            self._node.pause()
            await asyncio.sleep(fault.duration)
            self._node.resume()
            return
        await asyncio.to_thread(self._node.kill if fault.kind == "kill" else self._node.stop)
        await asyncio.sleep(fault.duration)
        self._node.start()
        await asyncio.to_thread(self._node.wait_ready)


class Disk:
    """The small disk of the spools, which is filled while the brokers are down and spools are used."""

    def __init__(self, folder: Path, brokers: list[Broker]) -> None:
        self.name = "disk"
        self._ballast = folder / "ballast"
        self._brokers = brokers

    async def inject(self, fault: Fault) -> str:
        async with self._brokers[0].lock:
            filling = asyncio.create_task(asyncio.to_thread(self._fill))
            await asyncio.gather(
                *(
                    broker.inject_locked(Fault(fault.at, broker.name, "kill", fault.duration))
                    for broker in self._brokers
                )
            )
            await filling
            self._ballast.unlink(missing_ok=True)
        return ""

    def _fill(self) -> None:
        free = shutil.disk_usage(self._ballast.parent).free
        with suppress(OSError), self._ballast.open("wb") as ballast:  # the spools may fill it first
            for _ in range(free // 65_536 + 2):
                ballast.write(b"\0" * 65_536)
                ballast.flush()


class Changelogs:
    """The topics of states, which are deleted; workers that notice it create them again when they restart."""

    def __init__(self, kafka: str, lock: asyncio.Lock) -> None:
        self.name = "changelogs"
        self._kafka = kafka
        self._lock = lock

    async def inject(self, fault: Fault) -> str:
        async with self._lock:
            await delete_topics(self._kafka, MESSAGES, CONTACTS)
        return ""


class Everything:
    """All services and brokers, hit at the same moment: a power cut, but the page cache survives."""

    def __init__(self, services: Collection[Service], brokers: Sequence[Broker]) -> None:
        self.name = "everything"
        self._services = services
        self._brokers = brokers

    async def inject(self, fault: Fault) -> str:
        async with self._brokers[0].lock:
            await asyncio.gather(
                *(service.inject(fault) for service in self._services),
                *(broker.inject_locked(fault) for broker in self._brokers),
            )
        return ""


Target = Service | Broker | Disk | Changelogs | Everything


async def inject_faults(faults: list[Fault], targets: Mapping[str, Target], log: Log) -> None:
    """Inject all faults, each at its time, concurrently; return when all are over."""
    began = time.monotonic()

    async def inject(fault: Fault) -> None:
        await asyncio.sleep(max(0, fault.at - (time.monotonic() - began)))
        log(f"{fault.kind} {fault.target} for {fault.duration:g} s")
        if remark := await targets[fault.target].inject(fault):
            log(f"  {fault.target} {remark}")

    await asyncio.gather(*(inject(fault) for fault in faults))
