"""Finds places on this machine for the processes of `postbacks up`: free ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.up.stack import STAGES, Endpoints
from cli.up.stack_file import AddressInUse
from runtime.errors import InvalidSetting
from runtime.settings import PREFIX, Settings

HOST = "127.0.0.1"
KAFKA_PORT, CLICKHOUSE_PORT = 9092, 8123


@dataclass(frozen=True)
class PortOptions:
    """What the command line asks for; port 0 takes a free one, and None leaves it to the settings."""

    port: int | None
    kafka_port: int | None
    clickhouse_port: int | None
    data: Path | None


def allocate_ports(settings: Settings, wanted: PortOptions) -> Endpoints:
    """Choose an address for each process; an engine that the settings name gets none.

    Raises:
        Occupied: another process listens on a port that was asked for.
        BadSetting: a port is asked for, for an engine that runs elsewhere.
    """
    for engine, chosen in (("kafka", wanted.kafka_port), ("clickhouse", wanted.clickhouse_port)):
        if chosen is not None and engine in settings.model_fields_set:
            raise InvalidSetting(
                f"--{engine}-port is for the embedded engine, and {PREFIX}{engine.upper()} names another: "
                "leave out one of the two"
            )
    host, _, port = settings.listen.rpartition(":")
    with ExitStack() as held:  # each until all are chosen, so that none is chosen twice

        def free(port: int, option: str, host: str = HOST) -> str:
            return held.enter_context(_held(host, port, option))

        return Endpoints(
            listen=free(int(port) if wanted.port is None else wanted.port, "--port", host),
            data=(wanted.data or settings.data).absolute(),
            ops={stage: free(0, "") for stage in STAGES},
            kafka=None
            if "kafka" in settings.model_fields_set
            else free(_port(wanted.kafka_port, KAFKA_PORT), "--kafka-port"),
            clickhouse=None
            if "clickhouse" in settings.model_fields_set
            else free(_port(wanted.clickhouse_port, CLICKHOUSE_PORT), "--clickhouse-port"),
        )


def _port(chosen: int | None, default: int) -> int:
    return default if chosen is None else chosen


@contextmanager
def _held(host: str, port: int, option: str) -> Iterator[str]:
    """The address (`host:port`), listened on for the while of the block."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        probe = socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        instead = {
            "--kafka-port": f", or set {PREFIX}KAFKA to use a broker that runs already",
            "--clickhouse-port": f", or set {PREFIX}CLICKHOUSE to use a server that runs already",
        }.get(option, "")
        problem = f"Port {port} on {host} cannot be used: {os.strerror(error.errno or 0)}"
        raise AddressInUse(f"{problem}. Choose another with {option}{instead}") from None
    with probe:
        yield f"{host}:{probe.getsockname()[1]}"
