"""For how long there was work and nothing moved. Pure: whoever watches brings the time and the marks."""

from __future__ import annotations

from collections.abc import Hashable

from runtime.errors import Refused


class Stalled(Refused):
    """There is work, nothing moves, and nobody else is to blame: only a new process can help."""


class Standstill:
    """Counts seconds in which this process really ran: one that was frozen has not stood still."""

    #: A longer time between two looks counts as this much.
    LONGEST_STEP = 5.0

    def __init__(self) -> None:
        self.seconds = 0.0
        self._looked_at = float("inf")
        self._mark: Hashable = None

    def look(self, now: float, mark: Hashable, work_left: bool) -> float:
        """The seconds so far; `mark` differs from the last one whenever something moved."""
        step = min(max(now - self._looked_at, 0.0), self.LONGEST_STEP)
        standing = work_left and mark == self._mark
        self.seconds = self.seconds + step if standing else 0.0
        self._looked_at, self._mark = now, mark
        return self.seconds
