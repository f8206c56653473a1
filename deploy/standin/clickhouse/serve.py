"""Runs the embedded ClickHouse with the port, the folder and the variables of the official image.

CLICKHOUSE_USER (`default`) with CLICKHOUSE_PASSWORD may do everything; CLICKHOUSE_DB is created if it is set.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path

from aiohttp import web
from clickhouse_connect import get_client

from embedded.clickhouse.engine import Engine
from embedded.clickhouse.http import make_runner
from embedded.clickhouse.server import CANCEL_TIMEOUT, GRACE_PERIOD
from embedded.clickhouse.users import USERS, User
from runtime.process import run_process
from runtime.settings import Settings

PORT = 8123
DATA = Path("/var/lib/clickhouse")


async def serve(_: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    name = os.environ.get("CLICKHOUSE_USER") or "default"
    USERS.clear()  # like the official image, which has no other user
    USERS[name] = User(name, os.environ.get("CLICKHOUSE_PASSWORD", ""), read_only=False)
    engine = Engine(DATA)
    runner = make_runner(engine, GRACE_PERIOD + CANCEL_TIMEOUT)
    await runner.setup()
    await web.TCPSite(runner, None, PORT).start()
    if database := os.environ.get("CLICKHOUSE_DB"):
        await asyncio.to_thread(create_database, database, USERS[name])
    await stop.wait()
    asyncio.get_running_loop().call_later(GRACE_PERIOD, engine.cancel_all)
    await runner.cleanup()


def create_database(name: str, user: User) -> None:
    with closing(get_client(port=PORT, username=user.name, password=user.password)) as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS `{name}`")


if __name__ == "__main__":
    run_process(serve)
