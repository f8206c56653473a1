"""Finds places on this machine for the processes of `postbacks up`: free ports, a folder of its own."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from console.stack import STAGES, Places
from runtime.errors import Refused
from runtime.settings import PREFIX, Settings

HOST = "127.0.0.1"


class Occupied(Refused):
    """A port or folder that the stack needs is somebody else's; names it and the option."""


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; port 0 takes a free one, and None leaves it to the settings."""

    port: int | None
    kafka_port: int
    clickhouse_port: int
    data: Path | None


def find_places(settings: Settings, wanted: Wanted) -> Places:
    """Choose an address for each process; an engine that the settings name gets none.

    Raises:
        Occupied: another process listens on a port that was asked for.
    """
    host, _, port = settings.listen.rpartition(":")
    with ExitStack() as held:  # each until all are chosen, so that none is chosen twice

        def free(port: int, option: str, host: str = HOST) -> str:
            return held.enter_context(_held(host, port, option))

        return Places(
            listen=free(int(port) if wanted.port is None else wanted.port, "--port", host),
            data=(wanted.data or settings.data).absolute(),
            ops={stage: free(0, "") for stage in STAGES},
            kafka=None if "kafka" in settings.model_fields_set else free(wanted.kafka_port, "--kafka-port"),
            clickhouse=None
            if "clickhouse" in settings.model_fields_set
            else free(wanted.clickhouse_port, "--clickhouse-port"),
        )


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
        raise Occupied(f"{problem}. Choose another with {option}{instead}") from None
    with probe:
        yield f"{host}:{probe.getsockname()[1]}"


@contextmanager
def owned_folder(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it against another `postbacks up` while the block runs.

    Raises:
        Occupied: another one holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "up.lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise Occupied(f"{folder} cannot be used: {error.strerror}. Choose another with --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Occupied(f"Another `postbacks up` uses {folder}. Choose another with --data") from None
    finally:
        os.close(lock)
