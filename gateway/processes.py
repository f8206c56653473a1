"""Several gateway processes on one port, under this one, which keeps them running and reports for all.

The kernel spreads connections over the processes that listen (SO_REUSEPORT). This one takes none: it holds
the port's number, and the ops port.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from gateway.child import Child
from gateway.shared_port import reserve_port
from runtime.health import Health, serve_ops
from runtime.multiprocess_metrics import MultiprocessCollector
from runtime.process import force_exit_after
from runtime.settings import PREFIX, Settings

#: Seconds from SIGTERM to the end; longer than any process takes.
END_SECONDS = 19.8
#: Seconds that a process may take to say how it is.
ASK_SECONDS = 2.0


async def keep_processes(
    settings: Settings, stop: asyncio.Event, ops: str, environment: Mapping[str, str]
) -> None:
    """Run `settings.processes` gateways until `stop` is set. Prints `host:port` when the first one is open.

    Args:
        ops: where all of them report as one.
        environment: what this process was given.

    Raises:
        Refused: the port cannot be used, or a process is refused that never was open.
        TimeoutError: a process had to be killed.
    """
    opened = asyncio.Event()
    async with reserve_port(settings.listen, stop) as address:
        with TemporaryDirectory(prefix="postbacks-gateway-") as folder:
            together = MultiprocessCollector(Path(folder))
            given = {**environment, PREFIX + "LISTEN": address, PREFIX + "OPS": "127.0.0.1:0"}
            children = [Child(str(n), given, together, opened) for n in range(1, settings.processes + 1)]

            def hang_up() -> None:
                for child in children:
                    child.hang_up()

            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
            async with serve_ops(ops, AggregateHealth(children), together.exposition):
                telling = asyncio.create_task(_tell(address, opened))
                keeping = [asyncio.create_task(child.keep(stop)) for child in children]
                await asyncio.wait(keeping, return_when=asyncio.FIRST_COMPLETED)
                stop.set()
                force_exit_after(END_SECONDS, None)
                await asyncio.wait(keeping)
                telling.cancel()
            for task in keeping:
                task.result()


class AggregateHealth(Health):
    """What each process lacks. The work is done as long as one of them lacks nothing.

    Whoever asks /readyz wants to know whether to send postbacks here, and one process that starts again is no
    reason to send them elsewhere: its connections go to the others meanwhile. So the answer is still 200, but
    with a line for each thing that is missing, and 503 only when every process lacks something.
    `postbacks_ready` is 0 as long as anything is missing: that is for people.
    """

    def __init__(self, children: list[Child]) -> None:
        super().__init__()
        self._children = children

    async def working(self) -> bool:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)) as session:
            lacks = await asyncio.gather(*(child.lacks(session) for child in self._children))
        named = zip(self._children, lacks, strict=True)
        self.missing = {f"process {child.name}": lack for child, lack in named if lack}
        return len(self.missing) < len(self._children)


async def _tell(address: str, opened: asyncio.Event) -> None:
    await opened.wait()
    print(address, flush=True)
