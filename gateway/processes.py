"""Several gateway processes on one port, supervised by this one, which also reports for all of them.

The kernel spreads connections over the processes that listen (SO_REUSEPORT). This one accepts none: it
reserves the port, and serves the ops port. Each of the others prints its address and the address of its own
ops port.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import structlog

from runtime.errors import InvalidSetting
from runtime.health import Health, serve_ops, unready_reason
from runtime.multiprocess_metrics import MultiprocessCollector
from runtime.process import first_completed, force_exit_after, wait_up_to
from runtime.settings import PREFIX
from runtime.supervisor import GATEWAY_BACKOFF, Service, Supervisor

#: Argument of `python -m gateway` for a supervised process.
SUPERVISED = "supervised"
#: Seconds from SIGTERM to SIGKILL, longer than a process gives itself; and until this process exits.
STOP_TIMEOUT, EXIT_TIMEOUT = 19.5, 19.8
READYZ_TIMEOUT = 2.0
#: Seconds to wait for a port in use: processes whose supervisor was killed may take as long to shut down.
PORT_TIMEOUT, POLL_INTERVAL = 20.0, 0.2

log = structlog.get_logger(__name__)


async def run_processes(
    count: int, listen: str, ops: str, environment: Mapping[str, str], stop: asyncio.Event
) -> None:
    """Run `count` gateways on one port until `stop` is set. Prints `host:port` when the first one is open.

    Args:
        listen: the address that they share.
        ops: address of the ops port for all of them.
        environment: this process's own.

    Raises:
        StartupError: the port cannot be used, or a process refuses its settings.
        TimeoutError: a process had to be killed.
    """
    async with reserve_port(listen, stop) as address:
        with TemporaryDirectory(prefix="postbacks-gateway-") as folder:
            metrics = MultiprocessCollector(Path(folder), lambda: supervisor.pids)
            services = _services(count, address, metrics)
            health = AggregateHealth([service.name for service in services])

            def on_exit(name: str, reason: str) -> None:
                log.error("Gateway process exited", process=name, reason=reason)
                health.on_exit(name, reason)
                metrics.mark_dead(name)

            def reload() -> None:
                for name, pid in supervisor.pids.items():
                    if health.is_open(name):  # others have no handler yet, and are about to read the files
                        os.kill(pid, signal.SIGHUP)

            supervisor = Supervisor(environment, health.on_line, on_exit, STOP_TIMEOUT)
            supervisor.start(*services)
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
            async with serve_ops(ops, health, metrics.exposition):
                try:
                    await first_completed(stop.wait(), supervisor.wait_failed(), health.opened.wait())
                    if health.opened.is_set():
                        print(address, flush=True)
                    await first_completed(stop.wait(), supervisor.wait_failed())
                finally:
                    force_exit_after(EXIT_TIMEOUT, None)
                    in_time = await supervisor.stop_all()
    if not in_time:
        raise TimeoutError("A gateway process had to be killed")


def _services(count: int, address: str, metrics: MultiprocessCollector) -> list[Service]:
    """The processes. If this one is killed, they shut down gracefully."""
    environment = {
        f"{PREFIX}LISTEN": address,
        f"{PREFIX}OPS": "127.0.0.1:0",
        f"{PREFIX}PROCESSES": str(count),
    }
    return [
        Service(
            name,
            ("gateway", SUPERVISED),
            {**environment, **metrics.environment(name)},
            stderr=None,
            death_signal=signal.SIGTERM,
            max_backoff=GATEWAY_BACKOFF,
        )
        for name in map(str, range(1, count + 1))
    ]


class AggregateHealth(Health):
    """Health of several processes: ready while at least one of them is.

    /readyz tells whether to send postbacks here. A process that restarts is no reason to send them elsewhere:
    its connections go to the others meanwhile. So it answers 200 with a line for each process that is not
    ready, and 503 only when none is. `postbacks_ready`, which is for people, is 0 while anything is missing.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        #: Set once the first process is open.
        self.opened = asyncio.Event()
        self._closed = dict.fromkeys(names, "not open yet")
        self._ops: dict[str, str] = {}

    def is_open(self, name: str) -> bool:
        return name in self._ops

    def on_line(self, name: str, line: str) -> None:
        """The process is open and has printed the addresses of its port and of its ops port."""
        self._ops[name] = line.split()[1]
        self.opened.set()

    def on_exit(self, name: str, reason: str) -> None:
        """The process has exited."""
        self._ops.pop(name, None)
        self._closed[name] = reason

    async def refresh(self) -> bool:
        ops = dict(self._ops)
        timeout = aiohttp.ClientTimeout(total=READYZ_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            reasons = await asyncio.gather(*(unready_reason(session, address) for address in ops.values()))
        missing = self._closed | dict(zip(ops, reasons, strict=True))
        self.missing = {f"process {name}": reason for name, reason in missing.items() if reason}
        return len(self.missing) < len(missing)


@asynccontextmanager
async def reserve_port(listen: str, stop: asyncio.Event) -> AsyncIterator[str]:
    """Bind the port while the block runs, without listening; yields the address (port 0 takes a free one).

    A shared port is shared with all processes of the same user, so that a second gateway started by mistake
    would get a part of this one's connections. Hence it is first bound alone, which fails while another
    process listens.

    Raises:
        InvalidSetting: the address cannot be used, or is still in use after `PORT_TIMEOUT` or once `stop` is
        set.
    """
    host, _, number = listen.rpartition(":")
    clock = asyncio.get_running_loop().time
    deadline = clock() + PORT_TIMEOUT
    warned = False
    while True:
        try:
            alone = await _bind(host, int(number), reuse=False)
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or stop.is_set() or clock() > deadline:
                raise InvalidSetting(f"POSTBACKS_LISTEN={listen}: cannot be used: {error.strerror}") from None
        if not warned:
            log.warning("Port in use, retrying", address=listen, timeout=PORT_TIMEOUT)
            warned = True
        await wait_up_to(POLL_INTERVAL, stop)
    port = alone.sockets[0].getsockname()[1]
    alone.close()
    reserved = await _bind(host, port, reuse=True)
    try:
        yield f"{host}:{port}"
    finally:
        reserved.close()


async def _bind(host: str, port: int, reuse: bool) -> asyncio.Server:
    """Bind as an asyncio server, so that host names resolve as they do where the port is opened."""
    return await asyncio.get_running_loop().create_server(
        asyncio.Protocol, host.strip("[]"), port, reuse_port=reuse or None, start_serving=False
    )
