"""Allocates the ports of the processes of `postbacks up`."""

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
    """The command line options; a port of 0 picks a free one, None is the default or the setting."""

    port: int | None
    kafka_port: int | None
    clickhouse_port: int | None
    data: Path | None


def allocate_ports(settings: Settings, options: PortOptions) -> Endpoints:
    """Choose an address for each process; an engine that a setting names gets none.

    Raises:
        AddressInUse: another process listens on the port.
        InvalidSetting: an option has a port for an engine that runs elsewhere.
    """
    for engine, port in (("kafka", options.kafka_port), ("clickhouse", options.clickhouse_port)):
        if port is not None and engine in settings.model_fields_set:
            raise InvalidSetting(
                f"--{engine}-port is for the embedded engine, and {PREFIX}{engine.upper()} names another: "
                "leave out one of the two"
            )
    host, _, default = settings.listen.rpartition(":")
    with ExitStack() as reserved:  # until all are chosen, so that none is chosen twice

        def reserve(port: int, option: str, host: str = HOST) -> str:
            return reserved.enter_context(_reserve(host, port, option))

        return Endpoints(
            listen=reserve(int(default) if options.port is None else options.port, "--port", host),
            data=(options.data or settings.data).absolute(),
            ops={stage: reserve(0, "") for stage in STAGES},
            kafka=None
            if "kafka" in settings.model_fields_set
            else reserve(_port(options.kafka_port, KAFKA_PORT), "--kafka-port"),
            clickhouse=None
            if "clickhouse" in settings.model_fields_set
            else reserve(_port(options.clickhouse_port, CLICKHOUSE_PORT), "--clickhouse-port"),
            provider=reserve(0, ""),
        )


def _port(chosen: int | None, default: int) -> int:
    return default if chosen is None else chosen


@contextmanager
def _reserve(host: str, port: int, option: str) -> Iterator[str]:
    """Listen on the port while the block runs; yields its `host:port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        alternative = {
            "--kafka-port": f", or set {PREFIX}KAFKA to use a running broker",
            "--clickhouse-port": f", or set {PREFIX}CLICKHOUSE to use a running server",
        }.get(option, "")
        problem = f"Port {port} on {host} cannot be used: {os.strerror(error.errno or 0)}"
        raise AddressInUse(f"{problem}. Choose another with {option}{alternative}") from None
    with listener:
        yield f"{host}:{listener.getsockname()[1]}"
