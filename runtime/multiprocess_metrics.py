"""Metrics of several processes that report as one: each writes to files in a directory, summed up here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from runtime.metrics import MULTIPROC_DIR, MULTIPROC_NAME, READY

#: Name of the process that reports for the others.
PARENT = "parent"


class MultiprocessCollector(Collector):
    """The processes' own metrics, the system's metrics of each, and `postbacks_ready` of this process."""

    def __init__(self, folder: Path, pids: Callable[[], Mapping[str, int]] = dict) -> None:
        """
        Args:
            folder: empty at first; on a file system that does not fill up.
            pids: the running processes' ids by name, without this one.
        """
        self._folder = folder
        self._pids = pids
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def environment(self, name: str) -> Mapping[str, str]:
        """Variables with which a process reports here under that name; only one at a time may have it."""
        return {MULTIPROC_DIR: str(self._folder), MULTIPROC_NAME: name}

    def mark_dead(self, name: str) -> None:
        """The process has exited: keep its counters, drop its live gauges."""
        mark_process_dead(name, str(self._folder))  # type: ignore[no-untyped-call]

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        own = MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        (ready,) = READY.collect()
        yield from (metric for metric in own if metric.name != ready.name)
        yield ready
        yield from self._system_metrics()

    def _system_metrics(self) -> Iterator[Metric]:
        """CPU seconds, memory and so on, labelled with the process's name."""
        metrics: dict[str, Metric] = {}
        for name, pid in {PARENT: os.getpid(), **self._pids()}.items():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                metric.samples = [sample._replace(labels={"process": name}) for sample in metric.samples]
                if metric.name in metrics:
                    metrics[metric.name].samples += metric.samples
                else:
                    metrics[metric.name] = metric
        yield from metrics.values()
