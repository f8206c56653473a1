"""The processes of a chaos run, and what can be done to them."""

from __future__ import annotations

import asyncio
import atexit
import os
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
from tests.chaos.faults import Fault

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("cli", "embedded", "gateway", "operations", "runtime", "sinks", "streams")
#: Seconds until a process that ended is started again, as systemd, compose and Kubernetes do.
RESTART, LOOK = 0.5, 0.1
#: What a process gets to end in good order, here as there.
GRACE = 30.0

Say = Callable[[str], None]


@cache
def frozen_code() -> Path:
    """A copy of the code that the processes run: who edits it meanwhile must not change it under them."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


class Service:
    """A process of the pipeline that is kept running while it is `wanted`."""

    def __init__(self, name: str, arguments: list[str], settings: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.restarts = 0
        #: How often no fault was the reason; it is right to end when only a restart can help.
        self.ended_itself = 0
        self._arguments = arguments
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("POSTBACKS_")},
            **settings,
        }
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._hit: subprocess.Popen[bytes] | None = None
        self.wanted = True

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

    async def keep(self, say: Say) -> None:
        """Start it, and start it again whenever it ends while it is wanted."""
        while True:
            if self.wanted and (self._process is None or self._process.poll() is not None):
                if self._process is not None:
                    self.restarts += 1
                    if self._process is not self._hit:
                        self.ended_itself += 1
                        say(f"{self.name} ended by itself, status {self._process.returncode}")
                    await asyncio.sleep(RESTART)
                if self.wanted:
                    self.start()
            await asyncio.sleep(LOOK)

    async def ended(self) -> int:
        """Wait for its own end; its exit status."""
        assert self._process
        return await asyncio.to_thread(self._process.wait)

    async def end(self, number: signal.Signals) -> float:
        """Send the signal and wait for the end, killing it after its grace; seconds that it took."""
        self.wanted = False
        began = time.monotonic()
        process = self._process
        if process and process.poll() is None:
            self._hit = process
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            try:
                await asyncio.to_thread(process.wait, GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return time.monotonic() - began

    async def hit(self, fault: Fault) -> str:
        """Let the fault befall it, to its end; what there is to say about it."""
        if fault.kind == "freeze":
            process = self._process
            if process and process.poll() is None:
                process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(fault.lasts)
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
            return ""
        took = await self.end(signal.SIGKILL if fault.kind == "kill" else signal.SIGTERM)
        await asyncio.sleep(fault.lasts)
        self.wanted = True
        return f"ended in {took:.1f} s" + (", killed at last" if took > GRACE else "")


class Broker:
    """A node of Apache Kafka, to be hit like a service, when it is its cluster's turn.

    However slowly a node starts, the next fault of its cluster waits until it is back.
    """

    def __init__(self, name: str, node: Node, turn: asyncio.Lock) -> None:
        self.name = name
        self.turn = turn
        self._node = node

    async def hit(self, fault: Fault) -> str:
        async with self.turn:
            await self.suffer(fault)
        return ""

    async def suffer(self, fault: Fault) -> None:
        """Be hit, whoever's turn it is."""
        if fault.kind == "freeze":
            self._node.pause()
            await asyncio.sleep(fault.lasts)
            self._node.resume()
            return
        await asyncio.to_thread(self._node.kill if fault.kind == "kill" else self._node.stop)
        await asyncio.sleep(fault.lasts)
        self._node.start()
        await asyncio.to_thread(self._node.wait_ready)


class Disk:
    """The small disk that the spools are on. It fills up while Kafka is away, when it is needed."""

    def __init__(self, folder: Path, brokers: list[Broker]) -> None:
        self.name = "disk"
        self._ballast = folder / "ballast"
        self._brokers = brokers

    async def hit(self, fault: Fault) -> str:
        async with self._brokers[0].turn:
            filling = asyncio.create_task(asyncio.to_thread(self._fill))
            await asyncio.gather(
                *(
                    broker.suffer(Fault(fault.at, broker.name, "kill", fault.lasts))
                    for broker in self._brokers
                )
            )
            await filling
            self._ballast.unlink(missing_ok=True)
        return ""

    def _fill(self) -> None:
        free = shutil.disk_usage(self._ballast.parent).free
        with (
            suppress(OSError),
            self._ballast.open("wb") as ballast,
        ):  # the spools may have filled it up before
            for _ in range(free // 65_536 + 2):
                ballast.write(b"\0" * 65_536)
                ballast.flush()


class Everything:
    """All services and brokers, ended at the same moment: the machine loses its power, but for the disks."""

    def __init__(self, services: Collection[Service], brokers: Sequence[Broker]) -> None:
        self.name = "everything"
        self._services = services
        self._brokers = brokers

    async def hit(self, fault: Fault) -> str:
        async with self._brokers[0].turn:
            await asyncio.gather(
                *(service.hit(fault) for service in self._services),
                *(broker.suffer(fault) for broker in self._brokers),
            )
        return ""


Target = Service | Broker | Disk | Everything


async def inflict(faults: list[Fault], targets: Mapping[str, Target], say: Say) -> None:
    """Do all of it, each at its time, side by side."""
    began = time.monotonic()

    async def one(fault: Fault) -> None:
        await asyncio.sleep(max(0, fault.at - (time.monotonic() - began)))
        say(f"{fault.kind} {fault.target} for {fault.lasts:g} s")
        if said := await targets[fault.target].hit(fault):
            say(f"  {fault.target} {said}")

    await asyncio.gather(*(one(fault) for fault in faults))
