"""Only what is a time of the contract is reckoned with."""

from __future__ import annotations

import pytest

from streams.times import is_time


def test_the_contracts_times_are_times() -> None:
    assert is_time("2026-11-23T04:39:41.123Z")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-11-23T04:39:41Z",
        "2026-11-23T04:39:41.123+",
        "2026-13-23T04:39:41.123Z",
        "2026-11-23T25:39:41.123Z",
        "0001-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
        "x" * 24,
    ],
)
def test_other_texts_are_none(text: str) -> None:
    assert not is_time(text)
