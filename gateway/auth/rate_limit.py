"""Limits how often each account may post. Pure: time is a parameter."""

from __future__ import annotations

from gateway.auth.accounts import Account
from runtime.token_bucket import TokenBucket


class RateLimiter:
    """A token bucket per account with a rate. Changing an account's rate or burst resets its bucket."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[Account, TokenBucket]] = {}

    def retry_after(self, account: Account, now: float) -> float:
        """Admit one postback and return 0, or return the seconds until one is admitted.

        Args:
            now: seconds of a monotonic clock.
        """
        if account.rate is None:
            return 0.0
        known, bucket = self._buckets.get(account.name, (None, None))
        if bucket is None or known is None or (known.rate, known.burst) != (account.rate, account.burst):
            bucket = TokenBucket(account.burst, 1 / account.rate, now)
            self._buckets[account.name] = account, bucket
        return 0.0 if bucket.acquire(now) else bucket.retry_after(now)
