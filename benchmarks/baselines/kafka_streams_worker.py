"""Kafka Streams (`kafka_streams/`), running one application after the other in one JVM."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCES = Path(__file__).parent / "kafka_streams"
BUILT = ROOT / ".cache" / "kafka-streams"
#: What suits it best on two cores: all of the compiler, and the collector for throughput.
JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error")


def missing_tools() -> str:
    """Why it cannot run here, or an empty string when it can."""
    absent = [tool for tool in ("java", "javac", "mvn") if not shutil.which(tool)]
    return f"{' and '.join(absent)} not found" if absent else ""


def classpath() -> str:
    """Build it, and gather what it needs; takes a moment when nothing has changed."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(
            [
                "mvn",
                "-q",
                "-B",
                "-Dstyle.color=never",
                "package",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={BUILT}/lib",
            ],
            cwd=SOURCES,
            check=True,
        )
    return f"{BUILT}/correlation.jar:{BUILT}/lib/*"


class KafkaStreams:
    """One JVM."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self.pid = popen.pid

    def begin(self, application: str) -> None:
        """Close the application that runs, and start this one; its name is its group's."""
        assert self._popen.stdin
        print(application, file=self._popen.stdin, flush=True)


@contextmanager
def kafka_streams(kafka: str, folder: Path, threads: int) -> Iterator[KafkaStreams]:
    """A JVM while the block runs, without an application yet."""
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
