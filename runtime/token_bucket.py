"""A token bucket: how much may pass in a burst, and how much in the long run. Pure: time is a parameter."""

from __future__ import annotations


class TokenBucket:
    """Lets `burst` through at once, and one more every `seconds`. Times are of one clock, in seconds."""

    def __init__(self, burst: int, seconds: float, now: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more may pass now."""
        if self.wait(now) > 0:
            return False
        self._tokens -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until one more may pass, if nobody else comes before; 0 when it may now."""
        self._tokens = min(self._burst, self._tokens + max(now - self._at, 0) / self._seconds)
        self._at = now
        return max(1 - self._tokens, 0) * self._seconds
