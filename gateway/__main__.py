"""`python -m gateway`: takes postbacks until it is stopped. Prints `host:port` when its port is open.

Here settings become parts, and parts a process; nothing else is decided. With POSTBACKS_PROCESSES there are
several of them, under `gateway.processes`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from uuid import uuid4

import structlog

from gateway.app import Gateway
from gateway.auth.accounts import Accounts
from gateway.auth.accounts_file import file_of, read_accounts, require_loopback
from gateway.auth.networks import read_networks
from gateway.child import WORKER_FLAG, exit_with_parent
from gateway.hold import HoldingSink
from gateway.http.server import ConnectionLimits, open_port
from gateway.http.tls import Certificate
from gateway.kafka.cloudevents import headers_of, no_headers
from gateway.kafka.sink import KafkaSink
from gateway.processes import keep_processes
from gateway.reload import FileWatcher, watch_files
from gateway.spool.file import SpoolFailed
from gateway.spool.sink import SpoolingSink, SpoolLimits
from gateway.topics import gateway_topics
from runtime.errors import InvalidSetting
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options
from runtime.process import force_exit_after, run_process
from runtime.settings import Settings

OPS = "127.0.0.1:8181"
#: Seconds from SIGTERM to the end, whatever hangs.
END_SECONDS = 19.0

log = structlog.get_logger(__name__)


async def serve(settings: Settings, stop: asyncio.Event, shared: bool = False) -> None:
    """Keep postbacks until `stop` is set, then come to an end of what is in hand.

    Args:
        shared: as one of several processes; then its ops port is printed, too.

    Raises:
        Refused: settings or topics do not allow it.
    """
    reread = hang_up()
    health = Health()
    health.missing["port"] = "not open yet"
    headers = headers_of if settings.cloudevents else no_headers
    publisher = KafkaSink(
        client_options(settings),
        gateway_topics(settings),
        settings.linger,
        settings.ack_timeout,
        health,
        headers,
    )
    limits = SpoolLimits(settings.spool_bytes, settings.spool_age, settings.ack_timeout)
    sink = SpoolingSink(publisher, settings.data / "spool", limits, time.time)
    holding = HoldingSink(sink, settings.hold, health) if settings.hold else None
    gateway = Gateway(
        Accounts(()),
        read_networks(settings.proxies),
        holding or sink,
        settings.body_limit,
        time.time,
        lambda: uuid4().hex,
    )
    reloaded, tls = [accounts_of(gateway, settings)], None
    if settings.tls_certificate:
        certificate = Certificate(settings.tls_certificate, settings.tls_key)
        reloaded.append(FileWatcher(certificate.files, certificate.load))
        tls = certificate.context
    patience = ConnectionLimits(settings.connections, settings.request_timeout, settings.idle_timeout)
    async with serve_ops(settings.ops or OPS, health) as ops, publisher, open_spool(sink, settings):
        # A Kafka that is there should get the very first postback; one that is not is not waited for.
        if await _first_of(
            stop, publisher.opened(), publisher.refused(), asyncio.sleep(settings.ack_timeout)
        ):
            return
        async with open_port(gateway, settings.listen, patience, tls, shared) as address:
            print(*((address, ops) if shared else (address,)), flush=True)
            log.info("Open for postbacks", address=address, accounts=gateway.accounts.names, tls=bool(tls))
            del health.missing["port"]
            working = [publisher.refused(), sink.failed(), watch_files(reloaded, reread)]
            await _first_of(stop, *working, *([holding.watch()] if holding else []))
            force_exit_after(END_SECONDS, None)


async def serve_one(settings: Settings, stop: asyncio.Event) -> None:
    """As `serve`, as one of several processes: until the parent ends it, too."""
    end = asyncio.Event()  # not `stop`: the first signal after that would count as the second, which kills
    exit_with_parent(end, END_SECONDS)
    stopped = asyncio.create_task(stop.wait())
    stopped.add_done_callback(lambda _: end.set())
    try:
        await serve(settings, end, shared=True)
    finally:
        stopped.cancel()


async def serve_all(settings: Settings, stop: asyncio.Event) -> None:
    """As `serve`, with as many processes as are set."""
    if settings.processes == 1:
        await serve(settings, stop)
    else:
        await keep_processes(settings, stop, settings.ops or OPS, os.environ)


@asynccontextmanager
async def open_spool(sink: SpoolingSink, settings: Settings) -> AsyncIterator[None]:
    """The sink's spool, open while the block runs.

    Raises:
        BadSetting: the folder cannot be written.
    """
    try:
        await sink.open()
    except SpoolFailed as error:
        raise InvalidSetting(
            f"POSTBACKS_DATA={settings.data}: must be a folder to write to ({error})"
        ) from None
    try:
        yield
    finally:
        await sink.close()


def accounts_of(gateway: Gateway, settings: Settings) -> FileWatcher:
    """The gateway's accounts, as POSTBACKS_TOKENS sets them.

    Raises:
        BadSetting: it is no such setting, or there are none and anybody might post.
    """
    setting = settings.tokens.get_secret_value()
    file = file_of(setting)

    def load() -> None:
        listed = read_accounts(setting)
        if not listed and file:
            raise InvalidSetting(f"POSTBACKS_TOKENS={file}: must name an account; `postbacks token` adds one")
        if not listed:
            require_loopback(settings.listen)
        gateway.accounts = Accounts(listed.values())
        log.info("Accounts read", accounts=gateway.accounts.names)

    return FileWatcher([file] if file else [], load)


def hang_up() -> asyncio.Event:
    """Set whenever SIGHUP comes."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, event.set)
    return event


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
    run_process(serve_one if WORKER_FLAG in sys.argv[1:] else serve_all)
