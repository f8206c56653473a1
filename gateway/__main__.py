"""`python -m gateway`: takes postbacks until it is stopped. Prints `host:port` when its port is open.

Here settings become parts, and parts a process; nothing else is decided.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from uuid import uuid4

import structlog
from aiohttp import web

from gateway.accounts import Accounts, demand_loopback, read_tokens
from gateway.app import Gateway
from gateway.publisher import Publisher
from gateway.spool import SpoolFailed
from gateway.spooling import Limits, SpoolingSink
from gateway.topics import gateway_topics
from runtime.errors import BadSetting
from runtime.kafka import client_options
from runtime.ops import Health, serve_ops
from runtime.process import run_process
from runtime.settings import Settings

OPS = "127.0.0.1:8181"
#: Seconds to answer what is in hand after SIGTERM; whoever is slower is cut off.
SHUTDOWN_SECONDS = 5.0
#: Seconds to read on after an answer that did not wait for the body, so that it is not lost in a reset.
LINGER_SECONDS = 2.0

log = structlog.get_logger(__name__)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Keep postbacks until `stop` is set, then come to an end of what is in hand.

    Raises:
        Refused: settings or topics do not allow it.
    """
    tokens = read_tokens(settings.tokens.get_secret_value())
    if not tokens:
        demand_loopback(settings.listen)
    health = Health()
    health.missing["port"] = "not open yet"
    publisher = Publisher(client_options(settings), gateway_topics(settings), settings.ack_timeout, health)
    limits = Limits(settings.spool_bytes, settings.spool_age, settings.ack_timeout)
    sink = SpoolingSink(publisher, settings.data / "spool", limits, time.time)
    gateway = Gateway(Accounts.of(tokens), sink, settings.body_limit, time.time, lambda: uuid4().hex)
    async with serve_ops(settings.ops or OPS, health), publisher, open_spool(sink, settings):
        # A Kafka that is there should get the very first postback; one that is not is not waited for.
        if await _first_of(
            stop, publisher.opened(), publisher.refused(), asyncio.sleep(settings.ack_timeout)
        ):
            return
        async with serve_http(gateway, settings.listen) as address:
            print(address, flush=True)
            log.info("Open for postbacks", address=address, accounts=sorted(tokens) or "without tokens")
            del health.missing["port"]
            await _first_of(stop, publisher.refused(), sink.failed())


@asynccontextmanager
async def open_spool(sink: SpoolingSink, settings: Settings) -> AsyncIterator[None]:
    """The sink's spool, open while the block runs.

    Raises:
        BadSetting: the folder cannot be written.
    """
    try:
        await sink.open()
    except SpoolFailed as error:
        raise BadSetting(f"POSTBACKS_DATA={settings.data}: must be a folder to write to ({error})") from None
    try:
        yield
    finally:
        await sink.close()


@asynccontextmanager
async def serve_http(gateway: Gateway, listen: str) -> AsyncIterator[str]:
    """The public port, open while the block runs; yields the address in use (port 0 takes a free one).

    At the end nobody new is let in, and who is in hand is answered.

    Raises:
        BadSetting: the address cannot be used.
    """
    server = web.Server(gateway, access_log=None, lingering_time=LINGER_SECONDS, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port), backlog=1024).start()
    except OSError as error:
        raise BadSetting(f"POSTBACKS_LISTEN={listen}: cannot be used: {error.strerror}") from None
    try:
        yield f"{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _first_of(stop: asyncio.Event, *others: Coroutine[None, None, None]) -> bool:
    """Wait for the first of them to end, or to raise; whether it was `stop`."""
    waiting = [asyncio.create_task(other) for other in others]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*waiting, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return stop.is_set()
    finally:
        for task in (*waiting, stopped):
            task.cancel()


if __name__ == "__main__":
    run_process(serve)
