"""Tries until it works, and says in the process's health what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import structlog

from runtime.health import Health
from runtime.metrics import SINK_RETRIES

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Retrier:
    """Of one process. `away` are the errors that pass by themselves."""

    def __init__(self, health: Health, away: tuple[type[Exception], ...], longest_pause: float) -> None:
        self.tries = 0
        self._health = health
        self._away = away
        self._longest_pause = longest_pause

    async def until_done(self, part: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The attempt's result, as soon as there is one; other errors of it go through."""
        for pause in backoff(self._longest_pause):
            self.tries += 1
            try:
                result = await attempt()
            except self._away as error:
                SINK_RETRIES.labels(part).inc()
                if part not in self._health.missing:
                    log.warning("Waiting", part=part, why=str(error))
                self._health.missing[part] = f"{error}; tried again and again"
                await asyncio.sleep(pause)
            else:
                if self._health.missing.pop(part, None):
                    log.info("Going on", part=part)
                return result
        raise AssertionError("pauses have no end")

    def waits_for(self, part: str) -> bool:
        return part in self._health.missing


def backoff(longest: float) -> Iterator[float]:
    """Seconds between tries: a tenth at first, then ever longer."""
    pause = 0.1
    while True:
        yield min(pause, longest)
        pause = min(pause * 2, longest)
