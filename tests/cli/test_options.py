"""Options of the commands: times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cli.options import parse_time

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("2 W", NOW - timedelta(days=14)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T10:00:00.500Z", datetime(2026, 11, 20, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-20 10:00+02:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
    ],
)
def test_time_may_be_absolute_or_relative(text: str, expected: datetime) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "7", "d", "-1d", "99999999999d", "2026-13-01"])
def test_invalid_time_error_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time; allowed is|too long ago"):
        parse_time(text, NOW)
