"""`postbacks local kafka`: one durable node, until it is stopped."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from embedded.errors import CannotServe
from embedded.kafka.jars import ensure_jars, version
from embedded.kafka.java import find_java
from embedded.kafka.node import Kafka, Node, new_cluster_id, node_properties
from embedded.kafka.retention import HOLD_FILE, Hold, keep_below, retention_properties
from embedded.ports import bind
from runtime.process import first_completed
from runtime.settings import Settings

#: A record is acknowledged only once it is on the disk: there is no other copy of it.
FLUSH = {"log.flush.interval.messages": "1"}

log = structlog.get_logger(__name__)


def installed_kafka(settings: Settings) -> Kafka:
    """Apache Kafka on this machine, downloaded if it is not there yet.

    Raises:
        CannotServe: Java or some jars are missing, and cannot be had.
    """
    return Kafka(find_java(settings.java), ensure_jars(settings.cache_folder))


async def serve_kafka(settings: Settings, port: int, data: Path, stop: asyncio.Event) -> None:
    """Run a node with its data in that folder until `stop` is set; prints `host:port` once it is ready.

    Raises:
        CannotServe: the port or the folder is in use, Kafka is not installed, or it ended by itself.
    """
    kafka = await asyncio.to_thread(installed_kafka, settings)
    with _owned(data):
        with bind(port) as client, bind(0) as controller:
            port, voter = client.getsockname()[1], controller.getsockname()[1]
        properties = node_properties(1, port, data / "data", {1: voter})
        properties |= FLUSH | retention_properties(settings.log_bytes)
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
                keep_below(node.address, node.data, settings.log_bytes, Hold(data / HOLD_FILE)),
            )
            if not stop.is_set():
                raise CannotServe(f"Kafka ended by itself, with status {node.process.returncode}")
        finally:
            await asyncio.to_thread(node.stop)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Hold the folder against another node while the block runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "kafka.lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise CannotServe(f"{folder} cannot be used: {error.strerror}; choose another --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CannotServe(f"Another Kafka uses {folder}; choose another --data") from None
    finally:
        os.close(lock)
