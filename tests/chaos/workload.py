"""The load of a chaos run on one gateway: postbacks, and beside them the submissions of their messages."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from simulator.run import Plan, postbacks_of, simulate
from tests.chaos.outcome import PostLog
from tests.chaos.submission_plan import plan_submissions
from tests.chaos.submitter import submit


async def post_workload(url: str, seed: int, postbacks: int, rate: float, posts: PostLog) -> None:
    """Post so many postbacks and their submissions, each until it is acknowledged.

    Args:
        url: of the gateway.
        rate: postbacks per second.
    """
    plan = Plan(f"{url}/postback", rate, seed, postbacks, max_attempts=1_000, timeout=10.0)
    # The same postbacks as those of the run but for their times: here only their messages and order matter.
    submissions = plan_submissions(postbacks_of(plan, datetime.now(UTC)), seed)
    await asyncio.gather(
        simulate(plan, asyncio.Event(), posts.record),
        submit(f"{url}/submission", submissions, rate, posts.record_answer),
    )
