"""The operator's port of each process: /livez, /readyz and /metrics."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from runtime.metrics import READY

#: A folder that several processes share to report as one; prometheus_client's own name for it.
TOGETHER = "PROMETHEUS_MULTIPROC_DIR"

log = structlog.get_logger(__name__)


class Health:
    """What is missing for this process to do its work.

    A part that is not well yet, or any more, says so under its name: `missing["kafka"] = "no answer from …"`,
    and deletes the entry when it is.
    """

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}


@asynccontextmanager
async def serve_ops(address: str, health: Health) -> AsyncIterator[str]:
    """Serve on `host:port` while the block runs; yields the address in use (port 0 takes a free one).

    /livez answers as long as the event loop turns: a process that only a restart can help ends itself, and
    the one that cannot even do that does not answer. Whatever else is wrong is for /readyz.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        lines = [f"{part}: {problem}" for part, problem in health.missing.items()] or ["ready"]
        return web.Response(status=503 if health.missing else 200, text="\n".join(lines) + "\n")

    async def metrics(_: web.Request) -> web.Response:
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


def exposition() -> bytes:
    """The metrics in Prometheus' text format: of this process, or of all that share a folder."""
    if not os.environ.get(TOGETHER):
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
