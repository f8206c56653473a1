"""The process of the embedded ClickHouse: one data folder, one port of loopback, from start to end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from aiohttp import web

from embedded.clickhouse.engine import Engine
from embedded.clickhouse.http import make_runner
from embedded.ports import HOST, bind

#: How long statements may go on after the end is asked for; then they are cancelled, and answered so.
GRACE_SECONDS = 1.0
#: How long their answers may take after that.
GOODBYE_SECONDS = 3.0

log = structlog.get_logger(__name__)


async def serve_clickhouse(port: int, data: Path, stop: asyncio.Event) -> None:
    """Serve what is in `data/clickhouse` until `stop` is set; prints its URL as a line when it is ready.

    Raises:
        CannotServe: the port or the folder is in use, or the wheel is not installed.
    """
    bound = bind(port)
    folder = data / "clickhouse"
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder.resolve())
    runner = make_runner(engine, GRACE_SECONDS + GOODBYE_SECONDS)
    await runner.setup()
    site = web.SockSite(runner, bound)
    await site.start()
    url = f"http://default:@{HOST}:{bound.getsockname()[1]}"
    print(url, flush=True)
    log.info("ClickHouse", url=url, version=engine.version, data=str(folder))
    await stop.wait()
    cancel = asyncio.get_running_loop().call_later(GRACE_SECONDS, engine.cancel_all)
    await runner.cleanup()
    cancel.cancel()
