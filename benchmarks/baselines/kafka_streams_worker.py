"""Runs applications of Kafka Streams (`kafka_streams/`) in a JVM, one after the other."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCES = Path(__file__).parent / "kafka_streams"
BUILD = ROOT / ".cache" / "kafka-streams"
#: The fastest on two cores: all tiers of the compiler, and the throughput collector.
JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error")


def missing_tools() -> str:
    """Return which tools are missing to build and run it; empty if none."""
    missing = [tool for tool in ("java", "javac", "mvn") if not shutil.which(tool)]
    return f"{' and '.join(missing)} not found" if missing else ""


def classpath() -> str:
    """Build the jar and copy its dependencies, unless up to date; return the classpath. Blocks."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(
            [
                "mvn",
                "-q",
                "-B",
                "-Dstyle.color=never",
                "package",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={BUILD}/lib",
            ],
            cwd=SOURCES,
            check=True,
        )
    return f"{BUILD}/correlation.jar:{BUILD}/lib/*"


class KafkaStreams:
    """A running JVM."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self.pid = popen.pid

    def start(self, application: str) -> None:
        """Close the running application, and start this one. Its name is its consumer group."""
        assert self._popen.stdin
        print(application, file=self._popen.stdin, flush=True)


@contextmanager
def open_kafka_streams(kafka: str, folder: Path, threads: int) -> Iterator[KafkaStreams]:
    """Run a JVM for the block, without an application."""
    popen = subprocess.Popen(
        ["java", *JVM, "-cp", classpath(), "benchmark.Correlation", kafka, str(folder), str(threads)],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield KafkaStreams(popen)
    finally:
        popen.kill()
        popen.wait()
