"""Retry policies, on tenacity: exponential backoff from BACKOFF seconds, up to a limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import structlog
from prometheus_client import Counter
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_exponential,
)

from runtime.health import Health

#: Seconds before the first retry; doubled for each further one.
BACKOFF = 0.1

Errors: TypeAlias = type[Exception] | tuple[type[Exception], ...]
T = TypeVar("T")

log = structlog.get_logger(__name__)


def retrying(errors: Errors, max_backoff: float, timeout: float | None = None, **hooks: Any) -> AsyncRetrying:
    """A policy: retry after these errors; other errors, and the last one, are raised as they are.

    Args:
        max_backoff: seconds between two attempts, at most.
        timeout: seconds after which a failed attempt is the last one; None: retry forever.
        hooks: tenacity's, e.g. `before_sleep`.
    """
    return AsyncRetrying(
        retry=retry_if_exception_type(errors),
        wait=wait_exponential(multiplier=BACKOFF, max=max_backoff),
        stop=stop_never if timeout is None else stop_after_delay(timeout),
        reraise=True,
        **hooks,
    )


class Retrier:
    """Retries calls until they succeed, and reports in the process's health what they wait for."""

    def __init__(
        self,
        health: Health,
        errors: Errors,
        max_backoff: float,
        failures: Counter | None = None,
        timeout: float | None = None,
    ) -> None:
        """
        Args:
            errors: those that pass by themselves; others are raised.
            failures: counts failed attempts, by the label `part`.
            timeout: seconds after which an error is raised all the same; None: never.
        """
        self._health = health
        self._errors = errors
        self._max_backoff = max_backoff
        self._failures = failures
        self._timeout = timeout
        self._waiting: set[str] = set()

    async def call(self, part: str, function: Callable[[], Awaitable[T]]) -> T:
        """Return the function's result. While it fails, `part` is down in health. Raises its last error."""
        policy = retrying(
            self._errors,
            self._max_backoff,
            self._timeout,
            before_sleep=lambda state: self._on_failure(part, state),
        )
        async for attempt in policy:
            try:
                result = await function()
            except self._errors:
                # Other errors bypass tenacity, which would keep their tracebacks, hence batches, in a cycle.
                with attempt:
                    raise
            else:
                self._on_success(part)
                return result
        raise AssertionError("the last attempt raises")

    def is_waiting(self, part: str) -> bool:
        """Whether the last attempt of a call failed."""
        return part in self._waiting

    def _on_success(self, part: str) -> None:
        if part in self._waiting:
            self._waiting.remove(part)
            self._health.up(part)
            log.info("Dependency recovered", part=part)

    def _on_failure(self, part: str, state: RetryCallState) -> None:
        assert state.outcome
        error = state.outcome.exception()
        if self._failures:
            self._failures.labels(part).inc()
        if part not in self._waiting:
            log.warning("Dependency unavailable, retrying", part=part, reason=str(error))
        self._waiting.add(part)
        self._health.down(part, f"{error}; retrying")
