"""`postbacks local kafka`: runs a single durable node."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from embedded.kafka.installation import Kafka, version
from embedded.kafka.node import Node, new_cluster_id, node_properties
from embedded.kafka.retention import HOLD_FILE, HoldFile, enforce_limit, retention_properties
from embedded.ports import reserve
from runtime.errors import StartupError
from runtime.process import first_completed

#: Fsync each record before it is acknowledged.
FLUSH = {"log.flush.interval.messages": "1"}
#: A node that was killed may register again only when its last session has expired (by default 9 s).
SESSION = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LogOptions:
    """How the node keeps its log: its maximum size in bytes, and whether it syncs each record."""

    max_bytes: int
    flush: bool


async def serve_kafka(kafka: Kafka, port: int, data: Path, options: LogOptions, stop: asyncio.Event) -> None:
    """Run a node on the folder `data` until `stop` is set; print `host:port` as a line when ready.

    Raises:
        StartupError: the port or the folder is in use, or the node exited.
    """
    with _lock_data_dir(data), reserve(port) as port, reserve(0) as voter:
        properties = node_properties(1, port, data / "data", {1: voter})
        properties |= SESSION | retention_properties(options.max_bytes)
        if options.flush:
            properties |= FLUSH
        node = Node(kafka, data, port, properties)
        if not node.formatted:
            await asyncio.to_thread(node.format, new_cluster_id())
        node.start()
        try:
            await asyncio.to_thread(node.wait_ready)
            print(node.address, flush=True)
            log.info("Kafka started", version=version(), address=node.address, data=str(data))
            assert node.process
            await first_completed(
                stop.wait(),
                asyncio.to_thread(node.process.wait),
                enforce_limit(node.address, node.data, options.max_bytes, HoldFile(data / HOLD_FILE)),
            )
            if not stop.is_set():
                raise StartupError(f"Kafka exited unexpectedly, with status {node.process.returncode}")
        finally:
            await asyncio.to_thread(node.stop)


@contextmanager
def _lock_data_dir(folder: Path) -> Iterator[None]:
    """Lock the folder for the block, so that no other node uses it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "kafka.lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise StartupError(f"{folder} cannot be used: {error.strerror}; choose another --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StartupError(f"Another Kafka uses {folder}; choose another --data") from None
    finally:
        os.close(lock)
