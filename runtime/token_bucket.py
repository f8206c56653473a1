"""A token bucket: limits a burst and the long-term rate. Pure: the caller passes the time."""

from __future__ import annotations


class TokenBucket:
    """Holds up to `burst` tokens and gains one every `interval` seconds. Times are seconds of one clock."""

    def __init__(self, burst: int, interval: float, now: float) -> None:
        self._burst = burst
        self._interval = interval
        self._tokens = float(burst)
        self._refilled_at = now

    def acquire(self, now: float) -> bool:
        """Take a token, if there is one."""
        if self.retry_after(now) > 0:
            return False
        self._tokens -= 1
        return True

    def retry_after(self, now: float) -> float:
        """Seconds until a token is available; 0 when one is."""
        gained = max(now - self._refilled_at, 0) / self._interval
        self._tokens = min(self._burst, self._tokens + gained)
        self._refilled_at = now
        return max(1 - self._tokens, 0) * self._interval
