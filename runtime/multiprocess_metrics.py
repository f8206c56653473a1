"""Several processes that report as one: each counts in files of a folder, and here they are added up."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from runtime.metrics import MULTIPROC_DIR, MULTIPROC_NAME, READY

#: What the process is called that the others are under.
PARENT = "parent"


class MultiprocessCollector(Collector):
    """What processes counted, what the system says of each, and `postbacks_ready` of this process."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: empty at the start; on a disk that is never full.
        """
        self._folder = folder
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.pids: dict[str, int] = {PARENT: os.getpid()}

    def environment(self, name: str) -> Mapping[str, str]:
        """With this a process of that name reports here; no two that run may have the same."""
        return {MULTIPROC_DIR: str(self._folder), MULTIPROC_NAME: name}

    def lost(self, name: str) -> None:
        """It has ended: what it counted stays, what it measured was of then."""
        self.pids.pop(name, None)
        mark_process_dead(name, str(self._folder))  # type: ignore[no-untyped-call]

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        counted = MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        (ready,) = READY.collect()
        yield from (metric for metric in counted if metric.name != ready.name)
        yield ready
        yield from self._of_the_system()

    def _of_the_system(self) -> Iterator[Metric]:
        """CPU seconds, memory and so on, of each process by its name."""
        metrics: dict[str, Metric] = {}
        for name, pid in self.pids.items():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                metric.samples = [sample._replace(labels={"process": name}) for sample in metric.samples]
                if metric.name in metrics:
                    metrics[metric.name].samples += metric.samples
                else:
                    metrics[metric.name] = metric
        yield from metrics.values()
