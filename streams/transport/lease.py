"""May this worker write now? Only while the group surely still counts it as a member.

A worker that was frozen, or cut off, for longer than its session has lost its partitions without knowing;
what it would write then would be stale. A commit that the group took proves membership: from when it was
asked, the group waits for at least a session time-out before it gives the partitions away. The lease ends
well before that, after two thirds of it, and each write is bounded by what is left.

What slips through all the same (a process frozen between looking and sending) is healed by joining, see
`streams/state/changelog.py`.
"""

from __future__ import annotations


class Lease:
    """Times are of one monotonic clock, in seconds."""

    def __init__(self, session_timeout: float) -> None:
        self.span = session_timeout * 2 / 3
        self._until = float("-inf")

    def renew(self, asked_at: float) -> None:
        """The group took a commit that was sent at `asked_at`."""
        self._until = max(self._until, asked_at + self.span)

    def end(self) -> None:
        """The partitions are given back."""
        self._until = float("-inf")

    def left(self, now: float) -> float:
        """Seconds in which a write may still reach the broker; 0 when there are none."""
        return max(0.0, self._until - now)

    def needs_renewal(self, now: float) -> bool:
        """Whether less than half of it is left, so that a write should ask the group first."""
        return self.left(now) < self.span / 2
