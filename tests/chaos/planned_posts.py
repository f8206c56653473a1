"""Posts what is planned beside the postbacks of a run, each until it gets a 2xx or a permanent error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Generic, NamedTuple, TypeVar

import aiohttp

CONNECTIONS, TIMEOUT = 32, 10.0
MIN_BACKOFF, MAX_BACKOFF = 0.05, 2.0

T = TypeVar("T")


class PlannedPost(NamedTuple, Generic[T]):
    """A body to post, due together with the postback of that number."""

    number: int
    #: What is posted, without what may differ each time.
    content: T
    body: bytes


def in_order(groups: Iterable[tuple[int, Iterable[PlannedPost[T]]]]) -> Iterator[PlannedPost[T]]:
    """Order posts by their numbers.

    Args:
        groups: posts in any order, each group after a number before which neither it nor a later one has any.
    """
    order, planned = count(), list[tuple[int, int, PlannedPost[T]]]()
    for earliest, posts in groups:
        while planned and planned[0][0] <= earliest:
            yield heappop(planned)[2]
        for post in posts:
            heappush(planned, (post.number, next(order), post))
    while planned:
        yield heappop(planned)[2]


async def post_planned(
    url: str, posts: Iterable[PlannedPost[T]], rate: float, observe: Callable[[T, int | None], None]
) -> None:
    """Post all, each as soon as it is due at a rate of postbacks per second.

    Args:
        observe: called after each post with the status of the response (None: connection broken, or timeout).
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[PlannedPost[T] | None] = asyncio.Queue(CONNECTIONS)
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as http,
        asyncio.TaskGroup() as tasks,
    ):

        async def work() -> None:
            while post := await queue.get():
                await _post(http, url, post, observe)

        for _ in range(CONNECTIONS):
            tasks.create_task(work())
        started = loop.time()
        for post in posts:
            await asyncio.sleep(max(0.0, started + post.number / rate - loop.time()))
            await queue.put(post)
        for _ in range(CONNECTIONS):
            await queue.put(None)


async def _post(
    http: aiohttp.ClientSession, url: str, post: PlannedPost[T], observe: Callable[[T, int | None], None]
) -> None:
    backoff = MIN_BACKOFF
    while True:
        try:
            async with http.post(url, data=post.body) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            status = None
        observe(post.content, status)
        if status and (status < 300 or (400 <= status < 500 and status not in (408, 429))):
            return
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, MAX_BACKOFF)
