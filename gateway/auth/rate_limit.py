"""How much each account may post now. Pure: time is a parameter."""

from __future__ import annotations

from gateway.auth.accounts import Account
from runtime.token_bucket import TokenBucket


class RateLimiter:
    """A token bucket for each account that has a rate; one whose rate was changed begins anew."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[Account, TokenBucket]] = {}

    def wait(self, account: Account, now: float) -> float:
        """Take one postback of the account's, or say how many seconds to wait until there is one to take.

        Args:
            now: seconds of a clock that never goes back.
        """
        if account.rate is None:
            return 0.0
        known, bucket = self._buckets.get(account.name, (None, None))
        if bucket is None or known is None or (known.rate, known.burst) != (account.rate, account.burst):
            bucket = TokenBucket(account.burst, 1 / account.rate, now)
            self._buckets[account.name] = account, bucket
        return 0.0 if bucket.take(now) else bucket.wait(now)
