"""Waits until the pipeline has come to rest: nothing is missing, and nothing is on its way any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp

from gateway.postback import POSTBACK_TOPICS, REJECTED
from runtime.errors import KafkaUnavailable
from runtime.kafka.clients import client_options
from runtime.kafka.offsets import Logs, NotDrained, Offsets, open_logs
from runtime.settings import load_settings
from streams.message import MESSAGES

#: Without any progress.
SECONDS = 180.0
#: Nobody says that he has nothing more to say; streams looks at every state in so long, for each of them.
QUIET_SECONDS, LOOK_SECONDS = 5.0, 0.000_15


class NotQuiescent(Exception):
    """It did not come to rest within the time that even a slow machine needs; says who, in its own words."""


async def ready(addresses: Iterable[str]) -> None:
    """Wait until every process says that nothing is missing.

    Raises:
        NoRest: one does not.
    """
    await _until_said([f"http://{address}/readyz" for address in addresses], "ready\n")


async def silence(kafka: str, gateways: Iterable[str], overdue_after: float) -> None:
    """Wait until the spools are empty, both groups have committed everything, and nothing becomes overdue.

    Raises:
        NoRest: they do not.
    """
    await _until_said([f"http://{address}/metrics" for address in gateways], "_spool_records 0.0")
    options = client_options(load_settings({"POSTBACKS_KAFKA": kafka}))
    group = "streams"
    try:
        async with open_logs(options) as logs:
            await logs.drained(group, await logs.ends(POSTBACK_TOPICS), SECONDS, lambda _: None)
            await asyncio.sleep(overdue_after)
            while (ends := await logs.ends([MESSAGES])) and await _grow(logs, ends):
                pass
            group, ends = "sinks", await logs.ends((*POSTBACK_TOPICS, REJECTED, MESSAGES))
            await logs.drained(group, ends, SECONDS, lambda _: None)
    except (NotDrained, KafkaUnavailable) as error:
        raise NotQuiescent(f"{group}: {error}") from error


async def _grow(logs: Logs, ends: Offsets) -> bool:
    """Whether more is written within a time in which streams looks at every state, and heals it."""
    await asyncio.sleep(QUIET_SECONDS + LOOK_SECONDS * sum(ends.values()))
    return await logs.ends([MESSAGES]) != ends


async def _until_said(urls: Iterable[str], words: str) -> None:
    async with aiohttp.ClientSession() as http:
        for url in urls:
            said = ""
            try:
                async with asyncio.timeout(SECONDS):
                    while words not in said:
                        await asyncio.sleep(0.2)
                        said = await _says(http, url)
            except TimeoutError:
                raise NotQuiescent(f"{url} says {said!r}, not {words!r}") from None


async def _says(http: aiohttp.ClientSession, url: str) -> str:
    try:
        async with http.get(url, timeout=aiohttp.ClientTimeout(2)) as answer:
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return repr(error)
