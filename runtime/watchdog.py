"""Detects stalls: work is pending and nothing progresses. Pure: the caller passes time and a marker."""

from __future__ import annotations

from collections.abc import Hashable


class Stalled(Exception):
    """Work is pending, Kafka and ClickHouse answer, and nothing progresses: only a restart can help."""


class StallDetector:
    """Counts the seconds without progress while this process ran: suspension is not a stall."""

    #: Longer intervals between two observations count as this many seconds.
    MAX_STEP = 5.0

    def __init__(self) -> None:
        #: Seconds without progress, as of the last observation.
        self.seconds = 0.0
        self._observed_at = float("inf")
        self._marker: Hashable = None

    def observe(self, now: float, marker: Hashable, pending: bool) -> float:
        """Update and return the seconds without progress.

        Args:
            now: monotonic time in seconds.
            marker: any value that differs from the previous one after progress.
            pending: whether there is work that could progress.
        """
        step = min(max(now - self._observed_at, 0.0), self.MAX_STEP)
        stalled = pending and marker == self._marker
        self.seconds = self.seconds + step if stalled else 0.0
        self._observed_at, self._marker = now, marker
        return self.seconds
