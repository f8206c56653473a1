"""The load of a chaos run: postbacks, the submissions of their messages, and handsets that opt out and in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

from simulator.run import Plan, postbacks_of, simulate
from tests.chaos.contact_plan import handsets_of, plan_responses
from tests.chaos.outcome import PostLog
from tests.chaos.planned_posts import post_planned
from tests.chaos.submission_plan import plan_submissions


async def post_workload(urls: Sequence[str], seed: int, postbacks: int, rate: float, posts: PostLog) -> None:
    """Post so many postbacks, with submissions and responses beside them, each until it is acknowledged.

    Args:
        urls: of the gateways. Each gets its share; of the responses of a handset, too.
        rate: postbacks per second, over all gateways.
    """
    started, gateways, handsets = datetime.now(UTC), len(urls), handsets_of(postbacks)
    plans = [
        Plan(
            f"{url}/postback",
            rate / gateways,
            seed * gateways + number,
            postbacks // gateways,
            max_attempts=1_000,
            timeout=10.0,
        )
        for number, url in enumerate(urls)
    ]
    # The same postbacks as those of the run but for their times: here only their messages and order matter.
    await asyncio.gather(
        *(simulate(plan, asyncio.Event(), posts.record) for plan in plans),
        *(
            post_planned(
                f"{url}/submission",
                plan_submissions(postbacks_of(plan, started), plan.seed, handsets),
                plan.rate,
                posts.record_answer,
            )
            for url, plan in zip(urls, plans, strict=True)
        ),
        *(
            post_planned(
                f"{url}/postback",
                islice(plan_responses(postbacks, rate, seed, started), number, None, gateways),
                rate,
                posts.record,
            )
            for number, url in enumerate(urls)
        ),
    )
