"""Keeps floods out of the log: during an outage client libraries say the same thing a thousand times.

Of each line (its logger and template) some pass at once, then one every few seconds, which tells how many
like it were left out.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from runtime.token_bucket import TokenBucket

BURST, SECONDS_EACH = 5, 10.0
#: Lines that are told apart; a library that formats its lines itself would make ever more.
MAX_LINES = 500


class RateLimitFilter(logging.Filter):
    """Holds back floods of the loggers under these names; others pass."""

    def __init__(self, names: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._names = frozenset(names)
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()
        self._left_out: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._names:
            return True
        line = record.name, str(record.msg)
        now = self._clock()
        bucket = self._buckets.setdefault(line, TokenBucket(BURST, SECONDS_EACH, now))
        self._buckets.move_to_end(line)
        if len(self._buckets) > MAX_LINES:
            oldest, _ = self._buckets.popitem(last=False)
            self._left_out.pop(oldest, None)
        if not bucket.take(now):
            self._left_out[line] = self._left_out.get(line, 0) + 1
            return False
        if left_out := self._left_out.pop(line, 0):
            record.msg = f"{record.msg} ({left_out} like this one left out)"
        return True
