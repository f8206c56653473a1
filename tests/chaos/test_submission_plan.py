"""The submissions of a chaos run, and the fold that they are checked with; without engines."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

import pytest

from gateway.parsing.postback import parse
from gateway.parsing.submission import parse_answers
from simulator.postback import SimulatedPostback
from simulator.traffic import traffic
from streams.merge import Event
from tests.chaos.expected import SubmittedAnswer
from tests.chaos.planned_posts import PlannedPost
from tests.chaos.posted import Posted
from tests.chaos.status_check import compare_with_posts
from tests.chaos.submission_plan import plan_submissions
from tests.support.postbacks import at
from tests.support.samples import raw_request
from tests.support.workload import fold

COUNT, SEED = 4_000, 7
HANDSETS = ["17575550100", "17575550101"]


def generate() -> tuple[list[SimulatedPostback], list[PlannedPost[SubmittedAnswer]]]:
    postbacks = list(islice(traffic(SEED, 200, lambda _: datetime(2026, 11, 28, tzinfo=UTC)), COUNT))
    return postbacks, list(plan_submissions(postbacks, SEED, HANDSETS))


def parse_all(
    postbacks: Sequence[SimulatedPostback], plan: Sequence[PlannedPost[SubmittedAnswer]]
) -> list[Event]:
    """Parse everything as the gateway does, in the order in which it is due."""
    timed: list[tuple[int, Event]] = [
        (number, parse(raw_request(postback.body, received_at=at(number))))
        for number, postback in enumerate(postbacks)
    ]
    for post in plan:
        parsed = parse_answers(raw_request(post.body, received_at=at(post.number)))
        assert not parsed.rejected, parsed
        assert parsed.submissions[0].body.encode() == post.content.raw
        timed += [(post.number, submission) for submission in parsed.submissions]
    return [event for _, event in sorted(timed, key=lambda entry: entry[0])]


def test_submissions_come_before_amid_and_after_postbacks() -> None:
    postbacks, plan = generate()
    assert plan == generate()[1]
    assert [post.number for post in plan] == sorted(post.number for post in plan)
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, postback in enumerate(postbacks):
        numbers[postback.message_id].append(number)
    places = Counter[str]()
    for post in plan:
        about = numbers.get(post.content.message_id or "")
        if post.content.message_id is None:
            places["no id"] += 1
        elif about is None:
            places["never reported"] += 1
        else:
            earlier = bisect_left(about, post.number)
            places["before" if not earlier else "after" if earlier == len(about) else "amid"] += 1
    assert min(places[place] for place in ("before", "amid", "after", "never reported", "no id")) > 20, places
    assert len(plan) > len({post.content.raw for post in plan}) + 50, "some are posted twice"


def post_all(postbacks: Sequence[SimulatedPostback], plan: Sequence[PlannedPost[SubmittedAnswer]]) -> Posted:
    posted = Posted()
    for postback in postbacks:
        posted.add_postback(postback, 200)
    for post in plan:
        posted.add_answer(post.content, 202)
    assert posted.is_complete
    return posted


def compare(
    events: Sequence[Event], posted: Posted, plan: Sequence[PlannedPost[SubmittedAnswer]]
) -> dict[str, str]:
    submitted_at = {
        post.content.message_id: at(post.number) for post in reversed(plan) if post.content.message_id
    }
    states = fold(event for event in events if event.message_id)
    return compare_with_posts(states, posted.expected, submitted_at)


def test_fold_of_posts_agrees_with_messages() -> None:
    postbacks, plan = generate()
    posted = post_all(postbacks, plan)
    assert compare(parse_all(postbacks, plan), posted, plan) == {}
    statuses = Counter(message.status for message in posted.expected.messages.values())
    assert all(statuses[status] for status in ("submitted", "refused", "withdrawn")), statuses


@pytest.mark.parametrize("lost", ["attempts", "refusals", "first posts"])
def test_fold_of_posts_finds_what_is_missing(lost: str) -> None:
    postbacks, plan = generate()
    posted = post_all(postbacks, plan)
    match lost:
        case "attempts":
            events = parse_all([postback for postback in postbacks if postback.kind != "sent"], plan)
        case "refusals":
            events = parse_all(postbacks, [post for post in plan if not post.content.error])
        case _:
            events = parse_all(postbacks, list({post.content.raw: post for post in plan}.values()))
    assert compare(events, posted, plan)
