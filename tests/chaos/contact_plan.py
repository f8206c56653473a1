"""Plans the responses by which handsets opt out and in, posted in another order than written. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from urllib.parse import urlencode

from simulator.customer import LONG_NUMBERS, SHORT_CODES
from simulator.postback import SimulatedPostback, us_date
from simulator.scenario import new_guid
from tests.chaos.contact_texts import OPTED_IN, OPTED_OUT, SUSPECTED, TEXTS, YES
from tests.chaos.planned_posts import PlannedPost, in_order

#: One handset per so many postbacks of the run.
POSTBACKS_PER_HANDSET = 28
MAX_RESPONSES = 6
#: Of the first handset, which writes all the time: when it writes to the last of our numbers, it has already
#: written more than a contact has facts.
BUSY_RESPONSES = 200
#: Weights of what responses say; empty: nothing.
SAID = {OPTED_OUT: 30, OPTED_IN: 30, SUSPECTED: 15, YES: 15, "": 10}
#: Seconds within which a handset writes; few, so that it writes several responses in the same one.
SECONDS = 8
#: Postbacks of the run within which its responses are posted, in any order.
LATEST = 1_600
#: Shares of the responses: without a readable time, posted twice, replies to a message.
UNTIMED_SHARE, REPEATED_SHARE, REPLY_SHARE = 0.2, 0.2, 0.5
NO_TIMES = ("", "0001-01-01T00:00:00", "13/32/2026 1:00:00 AM")
#: Empty: the provider does not tell which number of ours it is.
OWN_NUMBERS = (*SHORT_CODES, *LONG_NUMBERS, "")


def handsets_of(postbacks: int) -> list[str]:
    """The numbers of the handsets of a run with so many postbacks; at least one."""
    return [f"1757{5_000_000 + number}" for number in range(max(1, postbacks // POSTBACKS_PER_HANDSET))]


def plan_responses(
    postbacks: int, rate: float, seed: int, started: datetime
) -> Iterator[PlannedPost[SimulatedPostback]]:
    """Yield the posts beside so many postbacks, in the order of their numbers; the same for the same seed.

    Args:
        rate: postbacks per second.
        started: when the first handset begins to write.
    """
    return in_order(_groups(postbacks, rate, Random(f"responses {seed}"), started))


def _groups(
    postbacks: int, rate: float, rng: Random, started: datetime
) -> Iterator[tuple[int, list[PlannedPost[SimulatedPostback]]]]:
    busy, *others = handsets_of(postbacks)
    yield 0, list(_busy_posts(rng, busy, postbacks, rate, started))
    for index, handset in enumerate(others):
        number = index * POSTBACKS_PER_HANDSET
        yield number, list(_posts(rng, handset, number, started + timedelta(seconds=number / rate)))


def _posts(
    rng: Random, handset: str, number: int, started: datetime
) -> Iterator[PlannedPost[SimulatedPostback]]:
    own_numbers = rng.sample(OWN_NUMBERS, rng.choice((1, 2)))
    for _ in range(rng.randint(1, MAX_RESPONSES)):
        at = started + timedelta(seconds=rng.randrange(SECONDS))
        response = _response(rng, handset, rng.choice(own_numbers), at)
        for _ in range(2 if rng.random() < REPEATED_SHARE else 1):
            yield PlannedPost(number + rng.randrange(LATEST), response, response.body)


def _busy_posts(
    rng: Random, handset: str, postbacks: int, rate: float, started: datetime
) -> Iterator[PlannedPost[SimulatedPostback]]:
    """Responses during the whole run, to one number of ours after the other."""
    for index in range(BUSY_RESPONSES):
        number = index * postbacks // BUSY_RESPONSES
        own_number = OWN_NUMBERS[::-1][index * len(OWN_NUMBERS) // BUSY_RESPONSES]
        at = started + timedelta(seconds=number / rate)
        response = _response(rng, handset, own_number, at)
        yield PlannedPost(number, response, response.body)


def _response(rng: Random, handset: str, own_number: str, at: datetime) -> SimulatedPostback:
    signal = rng.choices(list(SAID), list(SAID.values()))[0]
    own_id, matched = new_guid(rng), new_guid(rng) if rng.random() < REPLY_SHARE else ""
    body = urlencode(
        {
            "SMSResponse": "1",
            "MessageID": own_id,
            "MatchedMessageID": matched,
            "ReferenceID": "",
            "FromPhoneNumber": handset,
            "ToPhoneNumber": own_number,
            "ResponseReceiveDate": rng.choice(NO_TIMES) if rng.random() < UNTIMED_SHARE else us_date(at),
            "Message": rng.choice(TEXTS[signal]),
        }
    )
    return SimulatedPostback(body.encode(), "reply" if matched else "inbound", matched or own_id)
