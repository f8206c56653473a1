"""Posts the submissions of a run, each until it gets a 2xx or a permanent error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import aiohttp

from tests.chaos.expected import SubmittedAnswer
from tests.chaos.submission_plan import PlannedPost

CONNECTIONS, TIMEOUT = 32, 10.0
MIN_BACKOFF, MAX_BACKOFF = 0.05, 2.0

#: Called after each post with the status of the response (None: connection broken, or timeout).
SubmissionObserver = Callable[[SubmittedAnswer, int | None], None]


async def submit(url: str, posts: Iterable[PlannedPost], rate: float, observe: SubmissionObserver) -> None:
    """Post all, each as soon as it is due at a rate of postbacks per second."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[PlannedPost | None] = asyncio.Queue(CONNECTIONS)
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
    http: aiohttp.ClientSession, url: str, post: PlannedPost, observe: SubmissionObserver
) -> None:
    backoff = MIN_BACKOFF
    while True:
        try:
            async with http.post(url, data=post.body) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            status = None
        observe(post.answer, status)
        if status and (status < 300 or (400 <= status < 500 and status not in (408, 429))):
            return
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, MAX_BACKOFF)
