"""Plans handsets that write several texts: questions, opt-outs and opt-ins, soon after each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from simulator.postback import Message, SimulatedPostback, inbound, reply
from simulator.scenario import new_guid
from tests.chaos.planned_posts import PlannedPost, in_order
from tests.chaos.respond_texts import LONG_NUMBER, SHORT_CODE, WHERE

#: Weights of texts.
TEXTS = {"HOURS": 25, "HELP": 20, WHERE: 15, "STOP": 15, "please stop": 5, "START": 10, "Ack": 10}
MAX_RESPONSES = 6
#: Seconds between two texts of a handset.
GAPS = (0.0, 0.1, 1.0, 3.0, 10.0)
#: Shares of the responses: posted twice, replies to a message.
REPEATED_SHARE, REPLY_SHARE = 0.2, 0.7


def plan_handsets(
    seed: int, seconds: float, rate: float, started: datetime
) -> Iterator[PlannedPost[SimulatedPostback]]:
    """Yield posts in the order of their numbers, of which there are a thousand per second.

    Args:
        seconds: within which handsets begin to write.
        rate: new handsets per second.
    """
    rng = Random(f"handsets {seed}")
    return in_order(
        (
            number,
            list(_posts(rng, f"1757{6_000_000 + index}", number, started + timedelta(milliseconds=number))),
        )
        for index, number in enumerate(range(0, int(seconds * 1000), int(1000 / rate)))
    )


def _posts(rng: Random, handset: str, number: int, at: datetime) -> Iterator[PlannedPost[SimulatedPostback]]:
    own_number = rng.choice((SHORT_CODE, f"1{LONG_NUMBER}"))
    for _ in range(rng.randint(1, MAX_RESPONSES)):
        text = rng.choices(list(TEXTS), list(TEXTS.values()))[0]
        message = Message(new_guid(rng), "A-12", own_number, handset)
        if rng.random() < REPLY_SHARE:
            response = reply(message, new_guid(rng), text, at)
        else:
            response = inbound(message, "", text, at)
        for _ in range(2 if rng.random() < REPEATED_SHARE else 1):
            yield PlannedPost(number, response, response.body)
        gap = rng.choice(GAPS)
        number, at = number + int(gap * 1000), at + timedelta(seconds=gap)
