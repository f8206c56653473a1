"""The operator's port of each process: /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.metrics import READY

log = structlog.get_logger(__name__)


class Health:
    """What is missing for this process to do its work, and whether a restart would help.

    A part that is not well yet, or any more, says so under its name: `missing["kafka"] = "no answer from …"`,
    and deletes the entry when it is. `dead` is set when only a restart can help.
    """

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.dead: str | None = None


@asynccontextmanager
async def serve_ops(address: str, health: Health) -> AsyncIterator[str]:
    """Serve on `host:port` while the block runs; yields the address in use (port 0 takes a free one)."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(status=503 if health.dead else 200, text=f"{health.dead or 'alive'}\n")

    async def readyz(_: web.Request) -> web.Response:
        lines = [f"{part}: {problem}" for part, problem in health.missing.items()] or ["ready"]
        return web.Response(status=503 if health.missing else 200, text="\n".join(lines) + "\n")

    async def metrics(_: web.Request) -> web.Response:
        READY.set(not health.missing)
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

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
