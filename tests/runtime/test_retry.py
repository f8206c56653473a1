"""Retries: backoff, health, and errors that are not retried."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter

from runtime.health import Health
from runtime.retry import Retrier, retrying


class Flaky:
    """Fails with these errors in turn, then returns "done"."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def call(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_call_is_retried_until_it_succeeds() -> None:
    health, registry = Health(), CollectorRegistry()
    failures = Counter("failures", "", ["part"], registry=registry)
    retrier = Retrier(health, OSError, max_backoff=0.01, failures=failures)
    assert await retrier.call("kafka", Flaky(OSError("a"), OSError("b")).call) == "done"
    assert registry.get_sample_value("failures_total", {"part": "kafka"}) == 2
    assert not health.missing


async def test_part_is_down_while_its_call_is_retried() -> None:
    health = Health()
    retrier = Retrier(health, OSError, max_backoff=60)
    call = asyncio.create_task(retrier.call("kafka", Flaky(*[OSError("no route")] * 9).call))
    await asyncio.sleep(0.01)
    assert health.missing == {"kafka": "no route; retrying"}
    assert retrier.is_waiting("kafka")
    assert not retrier.is_waiting("clickhouse")
    call.cancel()


async def test_other_errors_are_raised_at_once() -> None:
    retrier = Retrier(Health(), OSError, max_backoff=60)
    with pytest.raises(ValueError, match="no"):
        await retrier.call("kafka", Flaky(ValueError("no")).call)


async def test_last_error_is_raised_after_the_timeout() -> None:
    with pytest.raises(OSError, match="second"):
        await retrying(OSError, max_backoff=0.01, timeout=0.005)(
            Flaky(OSError("first"), OSError("second"), OSError("third")).call
        )


async def test_retrier_gives_up_after_its_timeout() -> None:
    retrier = Retrier(Health(), OSError, max_backoff=0.01, timeout=0.005)
    with pytest.raises(OSError, match="second"):
        await retrier.call("kafka", Flaky(OSError("first"), OSError("second"), OSError("third")).call)


async def test_backoff_doubles_up_to_its_limit() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    await retrying(OSError, max_backoff=1, sleep=sleep)(Flaky(*[OSError()] * 6).call)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1, 1]
