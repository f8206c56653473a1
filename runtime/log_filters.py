"""Filters for log records: rate-limit noisy loggers, redact phone numbers."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import structlog

from runtime.token_bucket import TokenBucket

#: Records of one message that pass at once, and seconds until the next one may.
BURST, INTERVAL = 5, 10.0
#: Messages tracked; a library that formats its own messages would otherwise grow the table without bound.
MAX_MESSAGES = 500

#: A phone number standing alone: not part of an id, a name, a version or a fraction. Short codes are left as
#: they are: they are public.
_NUMBER = re.compile(r"(?<![\w.-])\+?[0-9]{6,11}([0-9]{4})(?![\w-]|\.[0-9])")
REDACTED = r"…\1"


class RateLimitFilter(logging.Filter):
    """Rate-limits each message (logger and template) of the given top-level loggers; others pass.

    During an outage client libraries log the same message a thousand times. The next record that passes tells
    how many were suppressed.
    """

    def __init__(self, names: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._names = frozenset(names)
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()
        self._suppressed: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._names:
            return True
        message = record.name, str(record.msg)
        now = self._clock()
        bucket = self._buckets.setdefault(message, TokenBucket(BURST, INTERVAL, now))
        self._buckets.move_to_end(message)
        if len(self._buckets) > MAX_MESSAGES:
            oldest, _ = self._buckets.popitem(last=False)
            self._suppressed.pop(oldest, None)
        if not bucket.acquire(now):
            self._suppressed[message] = self._suppressed.get(message, 0) + 1
            return False
        if suppressed := self._suppressed.pop(message, 0):
            record.msg = f"{record.msg} ({suppressed} similar suppressed)"
        return True


def redact_phone_numbers(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Structlog processor that leaves only the last four digits of each phone number.

    The last line of defence, behind code that does not log them. What has no recognisable form (tokens,
    message texts) is kept out by the code that knows it; see also `runtime.clickhouse.errors.redact`.
    """
    return {name: _redact(value) for name, value in event.items()}


def _redact(value: Any) -> Any:
    match value:
        case str():
            return _NUMBER.sub(REDACTED, value)
        case None | bool() | int() | float():
            return value
        case dict():
            return {_redact(key): _redact(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact(item) for item in value]
        case _:
            return _NUMBER.sub(REDACTED, repr(value))
