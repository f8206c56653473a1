"""`python -m gateway`: runs the gateway. Prints `host:port` once the port is open.

Wires the parts from the settings, and decides nothing else. With POSTBACKS_PROCESSES, `gateway.processes`
runs several of these processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from uuid import uuid4

import structlog

from gateway.app import Gateway
from gateway.auth.accounts_file import AccountStore
from gateway.auth.networks import read_networks
from gateway.contacts import query
from gateway.contacts.endpoint import ContactEndpoint
from gateway.contacts.freshness import Freshness
from gateway.hold import HoldingSink
from gateway.http.server import ConnectionLimits, ListenOptions, open_port
from gateway.http.tls import Certificate
from gateway.kafka.cloudevents import headers_of, no_headers
from gateway.kafka.sink import KafkaSink
from gateway.processes import SUPERVISED, run_processes
from gateway.reload import FileWatcher, watch_files
from gateway.spool.sink import SpoolingSink, SpoolLimits
from gateway.topics import gateway_topics
from runtime.clickhouse.lookup_client import LookupClient
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options
from runtime.process import first_completed, force_exit_after, run_process, stop_on_signals
from runtime.settings import Settings
from runtime.verdict import Policy

OPS = "127.0.0.1:8181"
#: Seconds from SIGTERM until the process exits, even if a library hangs.
SHUTDOWN_TIMEOUT = 19.0
#: Seconds that ClickHouse has to answer a lookup of a contact, and lookups at a time.
LOOKUP_TIMEOUT, MAX_LOOKUPS = 0.2, 16

log = structlog.get_logger(__name__)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Accept postbacks until `stop` is set, then shut down gracefully.

    One of several processes shares the port, and tells its supervisor the address of the ops port, too.

    Raises:
        StartupError: a setting is wrong, or a topic does not match.
    """
    several = settings.processes > 1
    reload_requested = reload_on_sighup()
    health = Health()
    health.down("port", "not open yet")
    kafka = kafka_sink(settings, health)
    spool = spooling_sink(settings, kafka)
    hold = HoldingSink(spool, settings.hold, health) if settings.hold else None
    accounts = AccountStore(
        settings.tokens.get_secret_value(), settings.read_tokens.get_secret_value(), settings.listen
    )
    contacts = contact_endpoint(settings, accounts, spool)
    certificate = (
        Certificate(settings.tls_certificate, settings.tls_key) if settings.tls_certificate else None
    )
    watchers = [FileWatcher(part.files, part.load) for part in (accounts, certificate) if part]
    gateway = Gateway(
        accounts,
        read_networks(settings.proxies),
        hold or spool,
        settings.body_limit,
        time.time,
        lambda: uuid4().hex,
        contacts,
    )
    listen = ListenOptions(settings.listen, certificate.context if certificate else None, several)
    limits = ConnectionLimits(settings.connections, settings.request_timeout, settings.idle_timeout)
    async with serve_ops(settings.ops or OPS, health) as ops, kafka, spool:
        # If Kafka is available it gets the very first postback; if not, the port opens after the timeout.
        await first_completed(
            stop.wait(), kafka.wait_ready(), kafka.wait_failed(), asyncio.sleep(settings.ack_timeout)
        )
        if stop.is_set():
            return
        async with open_port(gateway, listen, limits) as address:
            print(f"{address} {ops}" if several else address, flush=True)
            log.info("Accepting postbacks", address=address, tls=certificate is not None)
            health.up("port")
            watching = [watch_files(watchers, reload_requested), *([hold.watch()] if hold else [])]
            watching.append(contacts.run())
            await first_completed(stop.wait(), kafka.wait_failed(), spool.wait_failed(), *watching)
            force_exit_after(SHUTDOWN_TIMEOUT, None)


async def serve_supervised(settings: Settings, _: asyncio.Event) -> None:
    """Serve as one of several processes.

    A second signal does not exit at once, as it does elsewhere: a service manager may signal all processes,
    in addition to the supervisor.
    """
    await serve(settings, stop_on_signals())


async def serve_all(settings: Settings, stop: asyncio.Event) -> None:
    """Serve with as many processes as configured."""
    if settings.processes == 1:
        await serve(settings, stop)
    else:
        await run_processes(settings.processes, settings.listen, settings.ops or OPS, os.environ, stop)


def kafka_sink(settings: Settings, health: Health) -> KafkaSink:
    return KafkaSink(
        client_options(settings),
        gateway_topics(settings.partitions, settings.replication),
        settings.linger,
        settings.ack_timeout,
        health,
        headers_of if settings.cloudevents else no_headers,
        settings.compression,
    )


def spooling_sink(settings: Settings, kafka: KafkaSink) -> SpoolingSink:
    limits = SpoolLimits(settings.spool_bytes, settings.spool_age, settings.ack_timeout)
    return SpoolingSink(kafka, settings.data / "spool", limits, time.time)


def contact_endpoint(settings: Settings, accounts: AccountStore, spool: SpoolingSink) -> ContactEndpoint:
    return ContactEndpoint(
        accounts,
        LookupClient(settings.clickhouse, LOOKUP_TIMEOUT, MAX_LOOKUPS, query.SETTINGS),
        Freshness(client_options(settings), lambda: spool.has_records, time.time),
        Policy(settings.opt_out_scope, settings.yes_opts_in),
        time.time,
    )


def reload_on_sighup() -> asyncio.Event:
    """An event that each SIGHUP sets."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, event.set)
    return event


if __name__ == "__main__":
    run_process(serve_supervised if SUPERVISED in sys.argv[1:] else serve_all)
