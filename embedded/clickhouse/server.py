"""The embedded ClickHouse process: one data folder, one loopback port."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from aiohttp import web

from embedded.clickhouse.engine import Engine
from embedded.clickhouse.http import make_runner
from embedded.ports import HOST, bind

#: Seconds that running statements get to complete at shutdown; after that they are cancelled.
GRACE_PERIOD = 1.0
#: Seconds for the error responses of cancelled statements.
CANCEL_TIMEOUT = 3.0

log = structlog.get_logger(__name__)


async def serve_clickhouse(port: int, data: Path, stop: asyncio.Event) -> None:
    """Serve `data/clickhouse` until `stop` is set; print the URL as a line when ready.

    Raises:
        StartupError: the port or the folder is in use, or the wheel is not installed.
    """
    bound = bind(port)
    folder = data / "clickhouse"
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder.resolve())
    runner = make_runner(engine, GRACE_PERIOD + CANCEL_TIMEOUT)
    await runner.setup()
    site = web.SockSite(runner, bound)
    await site.start()
    url = f"http://default:@{HOST}:{bound.getsockname()[1]}"
    print(url, flush=True)
    log.info("ClickHouse started", url=url, version=engine.version, data=str(folder))
    await stop.wait()
    cancel = asyncio.get_running_loop().call_later(GRACE_PERIOD, engine.cancel_all)
    await runner.cleanup()
    cancel.cancel()
