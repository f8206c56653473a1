"""Whether this worker may write now: only while the group is sure to count it as a member. Pure.

A worker that was suspended or cut off for longer than its session has lost its partitions without noticing;
its writes would be stale. A commit that the group accepted proves membership: from when the commit was sent,
the group waits for at least a session timeout before it reassigns the partitions. The lease expires well
before that, after two thirds of it, and each write is limited to the time that remains.

A process that is suspended between checking the lease and writing can still write a stale record. Merging the
records of a key makes it harmless, see `streams/state/changelog.py`.
"""

from __future__ import annotations


class Lease:
    """All times are seconds of one monotonic clock."""

    def __init__(self, session_timeout: float) -> None:
        self.duration = session_timeout * 2 / 3
        self._expires_at = float("-inf")

    def renew(self, sent_at: float) -> None:
        """Extend the lease: the group accepted a commit that was sent at `sent_at`."""
        self._expires_at = max(self._expires_at, sent_at + self.duration)

    def release(self) -> None:
        """End the lease: the partitions were revoked."""
        self._expires_at = float("-inf")

    def remaining(self, now: float) -> float:
        """Seconds within which a write may still reach the broker; 0 once the lease has expired."""
        return max(0.0, self._expires_at - now)

    def needs_renewal(self, now: float) -> bool:
        """Whether less than half of the lease remains, so that a write should renew it first."""
        return self.remaining(now) < self.duration / 2
