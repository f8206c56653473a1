"""The operator's port of each process: /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.metrics import READY

log = structlog.get_logger(__name__)


class Health:
    """What keeps this process from its work."""

    def __init__(self) -> None:
        #: A reason for each part that is down, by the part's name.
        self.missing: dict[str, str] = {}

    def down(self, part: str, reason: str) -> None:
        """The part does not work; /readyz answers 503 with the reason."""
        self.missing[part] = reason

    def up(self, part: str) -> None:
        """The part works."""
        self.missing.pop(part, None)

    async def refresh(self) -> bool:
        """Bring `missing` up to date; whether the process can do its work."""
        return not self.missing


@asynccontextmanager
async def serve_ops(
    address: str, health: Health, exposition: Callable[[], bytes] = generate_latest
) -> AsyncIterator[str]:
    """Serve on `host:port` while the block runs; yields the address in use (port 0 takes a free one).

    /livez answers as long as the event loop runs. A process that only a restart can repair exits by itself,
    so a missing answer means that it cannot even do that. Everything else is for /readyz.

    Args:
        exposition: the metrics in Prometheus' text format.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        ready = await health.refresh()
        lines = [f"{part}: {reason}" for part, reason in health.missing.items()]
        if ready:
            lines.insert(0, "ready, but degraded" if lines else "ready")
        return web.Response(status=200 if ready else 503, text="\n".join(lines) + "\n")

    async def metrics(_: web.Request) -> web.Response:
        await health.refresh()
        READY.set(not health.missing)
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = address.rpartition(":")
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    bound = f"{host}:{runner.addresses[0][1]}"
    log.info("Serving health and metrics", address=bound)
    try:
        yield bound
    finally:
        await runner.cleanup()


async def unready_reason(session: aiohttp.ClientSession, address: str) -> str:
    """What /readyz on `host:port` reports as missing, in one line; empty when the process is ready."""
    try:
        async with session.get(f"http://{address}/readyz") as response:
            return "" if response.status == 200 else (await response.text()).strip().replace("\n", "; ")
    except (aiohttp.ClientError, TimeoutError):
        return f"no answer on {address}"
