"""Plans the submissions of a run: before, amid or after the postbacks of their messages, some twice. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple

from gateway.sms_errors import BY_NUMBER
from simulator.postback import SimulatedPostback
from simulator.scenario import new_guid
from tests.chaos.expected import SubmittedAnswer
from tests.support.answers import ZERO_ID, answer, as_json, as_xml

#: Shares of outgoing messages: submitted; and beside them, submitted and never reported on.
SUBMITTED_SHARE, NEVER_REPORTED_SHARE = 0.5, 0.05
#: Shares of the submitted ones: what their answer says, instead of that they are queued.
REFUSED_SHARE, WITHDRAWN_SHARE, WITHOUT_ID_SHARE = 0.15, 0.1, 0.05
#: Shares of the answers: posted twice, posted with their request, in XML.
REPEATED_SHARE, REQUEST_SHARE, XML_SHARE = 0.3, 0.5, 0.2
#: SMSErrors of refusals: some of the list, and one that is not on it.
ERRORS = (1, 3, 6, 9, 77)
#: Postbacks of the run between the first one about a message and its submission.
EARLIEST, LATEST = -400, 800


class PlannedPost(NamedTuple):
    """A body to post, due together with the postback of that number."""

    number: int
    answer: SubmittedAnswer
    body: bytes


def plan_submissions(postbacks: Iterable[SimulatedPostback], seed: int) -> Iterator[PlannedPost]:
    """Yield the posts beside these postbacks, in the order of their numbers; the same for the same seed."""
    rng, order, known = Random(seed), count(), set[str]()
    planned: list[tuple[int, int, PlannedPost]] = []
    for number, postback in enumerate(postbacks):
        while planned and planned[0][0] <= number + EARLIEST:
            yield heappop(planned)[2]
        if postback.kind == "inbound" or postback.message_id in known:
            continue
        known.add(postback.message_id)
        submitted = [postback.message_id] if rng.random() < SUBMITTED_SHARE else []
        submitted += [new_guid(rng)] if rng.random() < NEVER_REPORTED_SHARE else []
        for message_id in submitted:
            for post in _posts(rng, message_id, number):
                heappush(planned, (post.number, next(order), post))
    while planned:
        yield heappop(planned)[2]


def _posts(rng: Random, message_id: str, number: int) -> Iterator[PlannedPost]:
    chance = rng.random()
    fields: dict[str, object] = {"ReferenceID": f"s-{rng.getrandbits(48)}"}
    if chance < WITHOUT_ID_SHARE:
        answers = [_answer(rng, None, fields, error=rng.choice(ERRORS))]
    elif chance < WITHOUT_ID_SHARE + REFUSED_SHARE:
        answers = [_answer(rng, message_id, fields, error=rng.choice(ERRORS))]
    else:
        answers = [_answer(rng, message_id, fields)]
        if rng.random() < WITHDRAWN_SHARE:
            answers.append(_answer(rng, message_id, fields, cancelled=True))
    for submitted in answers:
        for _ in range(2 if rng.random() < REPEATED_SHARE else 1):
            due = number + rng.randint(EARLIEST, LATEST)
            yield PlannedPost(due, submitted, _body(rng, submitted, str(fields["ReferenceID"])))


def _answer(
    rng: Random, message_id: str | None, fields: dict[str, object], error: int = 0, cancelled: bool = False
) -> SubmittedAnswer:
    listed = BY_NUMBER.get(error)
    name = listed.name if listed else str(error)
    value = fields | {"MessageID": message_id or ZERO_ID, "SMSError": error, "Queued": error == 0}
    value["Cancelled"] = cancelled
    in_xml = rng.random() < XML_SHARE
    raw = as_xml(answer(**value | {"SMSError": name})) if in_xml else as_json(answer(**value))
    return SubmittedAnswer(raw, message_id, name if error else "", cancelled)


def _body(rng: Random, submitted: SubmittedAnswer, reference: str) -> bytes:
    """The answer as it is, or with a request beside it, which may differ each time."""
    if rng.random() >= REQUEST_SHARE:
        return submitted.raw
    request = {
        "AssignedDID": rng.choice(("74121", "17575449510")),
        "Message": rng.choice(("Your table is ready", "é", "🙂 later")),
        "PhoneNumbers": [f"1{rng.randrange(2 * 10**9, 10**10)}"],
        "ReferenceID": reference,
    }
    return json.dumps({"request": {"SMSRequests": [request]}, "response": submitted.raw.decode()}).encode()
