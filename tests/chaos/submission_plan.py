"""Plans the submissions of a run: before, amid or after the postbacks of their messages, some twice. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from random import Random

from gateway.sms_errors import BY_NUMBER
from simulator.postback import SimulatedPostback
from simulator.scenario import new_guid
from tests.chaos.expected import Blocked, SubmittedAnswer
from tests.chaos.planned_posts import PlannedPost, in_order
from tests.support.answers import ZERO_ID, answer, as_json, as_xml

#: Shares of outgoing messages: submitted; and beside them, submitted and never reported on.
SUBMITTED_SHARE, NEVER_REPORTED_SHARE = 0.5, 0.05
#: Shares of the submitted ones: what their answer says, instead of that they are queued.
REFUSED_SHARE, WITHDRAWN_SHARE, WITHOUT_ID_SHARE = 0.15, 0.1, 0.05
#: Shares of the answers: posted twice, posted with their request, in XML.
REPEATED_SHARE, REQUEST_SHARE, XML_SHARE = 0.3, 0.5, 0.2
#: SMSErrors of refusals: some of the list, and one that is not on it.
ERRORS = (1, 3, 6, 9, 77)
#: The one that says that the recipient has sent STOP.
BLOCKED = 1
OWN_NUMBERS = ("74121", "17575449510")
#: Postbacks of the run between the first one about a message and its submission.
EARLIEST, LATEST = -400, 800


def plan_submissions(
    postbacks: Iterable[SimulatedPostback], seed: int, handsets: Sequence[str]
) -> Iterator[PlannedPost[SubmittedAnswer]]:
    """Yield the posts beside these postbacks, in the order of their numbers; the same for the same seed.

    Args:
        handsets: numbers that are refused because they have sent STOP.
    """
    return in_order(_groups(postbacks, Random(f"submissions {seed}"), handsets))


def _groups(
    postbacks: Iterable[SimulatedPostback], rng: Random, handsets: Sequence[str]
) -> Iterator[tuple[int, list[PlannedPost[SubmittedAnswer]]]]:
    known = set[str]()
    for number, postback in enumerate(postbacks):
        if postback.kind == "inbound" or postback.message_id in known:
            continue
        known.add(postback.message_id)
        submitted = [postback.message_id] if rng.random() < SUBMITTED_SHARE else []
        submitted += [new_guid(rng)] if rng.random() < NEVER_REPORTED_SHARE else []
        for message_id in submitted:
            yield number + EARLIEST, list(_posts(rng, message_id, number, handsets))


def _posts(
    rng: Random, message_id: str, number: int, handsets: Sequence[str]
) -> Iterator[PlannedPost[SubmittedAnswer]]:
    chance = rng.random()
    fields: dict[str, object] = {"ReferenceID": f"s-{rng.getrandbits(48)}"}
    if chance < WITHOUT_ID_SHARE + REFUSED_SHARE:
        answers = [_refusal(rng, None if chance < WITHOUT_ID_SHARE else message_id, fields, handsets)]
    else:
        answers = [_answer(rng, message_id, fields)]
        if rng.random() < WITHDRAWN_SHARE:
            answers.append(_answer(rng, message_id, fields, cancelled=True))
    for submitted in answers:
        for _ in range(2 if rng.random() < REPEATED_SHARE else 1):
            due = number + rng.randint(EARLIEST, LATEST)
            yield PlannedPost(due, submitted, _body(rng, submitted, str(fields["ReferenceID"])))


def _refusal(
    rng: Random, message_id: str | None, fields: dict[str, object], handsets: Sequence[str]
) -> SubmittedAnswer:
    error = rng.choice(ERRORS)
    refusal = _answer(rng, message_id, fields, error=error)
    if error != BLOCKED or rng.random() >= REQUEST_SHARE:
        return refusal
    return refusal._replace(blocked=Blocked(rng.choice(handsets), rng.choice(OWN_NUMBERS)))


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
    """The answer as it is, or with a request beside it, which may differ each time.

    Not if the answer is about a contact, which follows from the request.
    """
    if submitted.error == BY_NUMBER[BLOCKED].name:
        numbers = submitted.blocked
    else:
        recipient, own_number = f"1{rng.randrange(2 * 10**9, 10**10)}", rng.choice(OWN_NUMBERS)
        numbers = Blocked(recipient, own_number) if rng.random() < REQUEST_SHARE else None
    if numbers is None:
        return submitted.raw
    request = {
        "AssignedDID": numbers.own_number,
        "Message": rng.choice(("Your table is ready", "é", "🙂 later")),
        "PhoneNumbers": [numbers.handset],
        "ReferenceID": reference,
    }
    return json.dumps({"request": {"SMSRequests": [request]}, "response": submitted.raw.decode()}).encode()
