"""Reserves the ports of the processes of `postbacks up`."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.up.stack import STAGES, Endpoints
from cli.up.stack_file import AddressInUse
from runtime.errors import InvalidSetting
from runtime.ports import reserve
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


@contextmanager
def reserve_ports(settings: Settings, options: PortOptions) -> Iterator[Endpoints]:
    """Choose an address for each process, and reserve the ports for them while the block runs.

    An engine that a setting names gets no address.

    Raises:
        AddressInUse: another process listens on the port, or two options choose the same.
        InvalidSetting: an option has a port for an engine that runs elsewhere.
    """
    for engine, port in (("kafka", options.kafka_port), ("clickhouse", options.clickhouse_port)):
        if port is not None and engine in settings.model_fields_set:
            raise InvalidSetting(
                f"--{engine}-port is for the embedded engine, and {PREFIX}{engine.upper()} names another: "
                "leave out one of the two"
            )
    host, _, default = settings.listen.rpartition(":")
    chosen: set[int] = set()
    with ExitStack() as reserved:

        def choose(port: int, option: str, host: str = HOST) -> str:
            try:
                if port in chosen:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
                number = reserved.enter_context(reserve(host, port))
            except OSError as error:
                raise AddressInUse(_problem(host, port, option, error)) from None
            chosen.add(number)
            return f"{host}:{number}"

        yield Endpoints(
            listen=choose(int(default) if options.port is None else options.port, "--port", host),
            data=(options.data or settings.data).absolute(),
            ops={stage: choose(0, "") for stage in STAGES},
            kafka=None
            if "kafka" in settings.model_fields_set
            else choose(_port(options.kafka_port, KAFKA_PORT), "--kafka-port"),
            clickhouse=None
            if "clickhouse" in settings.model_fields_set
            else choose(_port(options.clickhouse_port, CLICKHOUSE_PORT), "--clickhouse-port"),
            provider=choose(0, ""),
        )


def _port(chosen: int | None, default: int) -> int:
    return default if chosen is None else chosen


def _problem(host: str, port: int, option: str, error: OSError) -> str:
    alternative = {
        "--kafka-port": f", or set {PREFIX}KAFKA to use a running broker",
        "--clickhouse-port": f", or set {PREFIX}CLICKHOUSE to use a running server",
    }.get(option, "")
    problem = f"Port {port} on {host} cannot be used: {os.strerror(error.errno or 0)}"
    return f"{problem}. Choose another with {option}{alternative}"
