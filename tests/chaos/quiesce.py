"""Waits until the pipeline is quiescent: all processes are ready, and nothing is buffered or in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp

from gateway.rejected import REJECTED
from runtime.errors import KafkaUnavailable
from runtime.kafka.clients import client_options
from runtime.kafka.offsets import Logs, NotDrained, Offsets, open_logs
from runtime.settings import load_settings
from streams.contact import CONTACTS
from streams.contact_event import CONTACT_EVENTS
from streams.message import INPUTS, MESSAGES

#: Seconds without any progress.
TIMEOUT = 180.0
#: Quiescence is not signalled: wait for a full scan of the states by streams, which takes `SCAN_SECONDS` per
#: state, without new records.
QUIET_SECONDS, SCAN_SECONDS = 5.0, 0.000_15
CHANGELOGS = (MESSAGES, CONTACTS)


class NotQuiescent(Exception):
    """The pipeline is not quiescent in time. The text names the process or group, and its problem."""


async def wait_ready(addresses: Iterable[str]) -> None:
    """Wait until all processes are ready.

    Raises:
        NotQuiescent: one is not ready in time.
    """
    await _wait_for_text([f"http://{address}/readyz" for address in addresses], "ready\n")


async def wait_quiescent(kafka: str, gateways: Iterable[str], longest_limit: float) -> None:
    """Wait until the spools are empty, both groups have committed everything, and no mark is due.

    Args:
        longest_limit: seconds after which a message is overdue or unsent, the longer of both.

    Raises:
        NotQuiescent: this takes too long.
    """
    await _wait_for_text([f"http://{address}/metrics" for address in gateways], "_spool_records 0.0")
    options = client_options(load_settings({"POSTBACKS_KAFKA": kafka}))
    group = "streams"
    try:
        async with open_logs(options) as logs:
            for topics in (
                INPUTS,
                (CONTACT_EVENTS,),
            ):  # the latter is written to until the former are drained
                await logs.wait_drained(group, await logs.ends(topics), TIMEOUT, lambda _: None)
            await asyncio.sleep(longest_limit)
            while (ends := await logs.ends(CHANGELOGS)) and await _has_new_records(logs, ends):
                pass
            group, ends = "sinks", await logs.ends((*INPUTS, REJECTED, *CHANGELOGS))
            await logs.wait_drained(group, ends, TIMEOUT, lambda _: None)
    except (NotDrained, KafkaUnavailable) as error:
        raise NotQuiescent(f"{group}: {error}") from error


async def _has_new_records(logs: Logs, ends: Offsets) -> bool:
    """Return whether records are written during a full scan, in which streams also repairs the changelog."""
    await asyncio.sleep(QUIET_SECONDS + SCAN_SECONDS * sum(ends.values()))
    return await logs.ends(CHANGELOGS) != ends


async def _wait_for_text(urls: Iterable[str], text: str) -> None:
    async with aiohttp.ClientSession() as http:
        for url in urls:
            body = ""
            try:
                async with asyncio.timeout(TIMEOUT):
                    while text not in body:
                        await asyncio.sleep(0.2)
                        body = await _get(http, url)
            except TimeoutError:
                raise NotQuiescent(f"{url} returns {body!r}, not {text!r}") from None


async def _get(http: aiohttp.ClientSession, url: str) -> str:
    try:
        async with http.get(url, timeout=aiohttp.ClientTimeout(2)) as response:
            return await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return repr(error)
