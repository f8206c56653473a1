"""Detects stalls: work is pending and nothing progresses. Pure: the caller passes time and a marker."""

from __future__ import annotations

from collections.abc import Hashable


class Stalled(Exception):
    """Work is pending, the engines answer, and nothing progresses: only a new process can help."""


class StallDetector:
    """Counts seconds in which this process ran: suspension is not a stall."""

    #: A longer time between two observations counts as this much.
    MAX_STEP = 5.0

    def __init__(self) -> None:
        self.seconds = 0.0
        self._observed_at = float("inf")
        self._marker: Hashable = None

    def observe(self, now: float, marker: Hashable, pending: bool) -> float:
        """The seconds without progress, up to now.

        Args:
            now: monotonic time in seconds.
            marker: differs from the last one whenever anything progressed.
            pending: whether there is work that could progress.
        """
        step = min(max(now - self._observed_at, 0.0), self.MAX_STEP)
        stalled = pending and marker == self._marker
        self.seconds = self.seconds + step if stalled else 0.0
        self._observed_at, self._marker = now, marker
        return self.seconds
