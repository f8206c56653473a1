"""Processes to measure that merge postbacks: a worker of streams, and one of stock Faust."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.gateway import free_address
from tests.support.process import Process, running
from tests.support.stage import RunningStage

#: Seconds; a restore of many millions of states takes minutes.
READY_TIMEOUT = 1_800.0


@contextmanager
def open_worker(kafka: str, partitions: int, data: Path, store: str = "rocksdb") -> Iterator[RunningStage]:
    """Run a worker for the block, with its states in the folder `data`."""
    settings = {"kafka": kafka, "partitions": partitions, "store": store, "data": data}
    ops = free_address()
    with running("streams", ops=ops, log_level="warning", **settings) as process:
        yield RunningStage(process, ops)


def start_faust(kafka: str, partitions: int, folder: Path, store: str = "rocksdb://") -> Process:
    """Start `benchmarks.baselines.faust_table`, with the group `faust`."""
    arguments = ("benchmarks.baselines.faust_table", "worker", "-l", "warn", "--without-web")
    settings = {"KAFKA": kafka, "GROUP": "faust", "PARTITIONS": partitions, "STORE": store, "FOLDER": folder}
    return running(*arguments, **settings)
