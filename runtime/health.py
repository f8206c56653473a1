"""The operator's port of each process: /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.metrics import READY

log = structlog.get_logger(__name__)


class Health:
    """What is missing for this process to do its work: a reason for each part that is down, by its name."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}

    def down(self, part: str, reason: str) -> None:
        """The part does not work; `/readyz` answers 503 with the reason."""
        self.missing[part] = reason

    def up(self, part: str) -> None:
        """The part works."""
        self.missing.pop(part, None)

    async def working(self) -> bool:
        """Whether the work is done; what `missing` says is then as of now."""
        return not self.missing


@asynccontextmanager
async def serve_ops(
    address: str, health: Health, exposition: Callable[[], bytes] = generate_latest
) -> AsyncIterator[str]:
    """Serve on `host:port` while the block runs; yields the address in use (port 0 takes a free one).

    /livez answers as long as the event loop turns: a process that only a restart can help ends itself, and
    the one that cannot even do that does not answer. Whatever else is wrong is for /readyz.

    Args:
        exposition: gives the metrics in Prometheus' text format.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        working = await health.working()
        lines = [f"{part}: {problem}" for part, problem in health.missing.items()]
        if working:
            lines.insert(0, "ready, but not all of it" if lines else "ready")
        return web.Response(status=200 if working else 503, text="\n".join(lines) + "\n")

    async def metrics(_: web.Request) -> web.Response:
        await health.working()
        READY.set(not health.missing)
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = address.rpartition(":")
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    bound = f"{host}:{runner.addresses[0][1]}"
    log.info("Health and metrics", address=bound)
    try:
        yield bound
    finally:
        await runner.cleanup()
