"""Many stories at a time, as one stream of packets: a message's own stay in order, others come between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from random import Random

from simulator.postback import SimulatedPostback
from simulator.scenario import generate

#: Recipients of one send share its ReferenceID.
LARGEST_SEND = 50


def traffic(seed: int, open_stories: int, clock: Callable[[int], datetime]) -> Iterator[SimulatedPostback]:
    """Packets without end; the same for the same arguments.

    Args:
        open_stories: how many messages are under way at a time.
        clock: the time at which packet number n is due.
    """
    chance = Random(seed)
    references = _references(chance)
    stories: list[deque[SimulatedPostback]] = []
    for number in count():
        while len(stories) < open_stories:
            stories.append(deque(generate(chance, next(references), clock(number))))
        chosen = chance.randrange(len(stories))
        yield stories[chosen].popleft()
        if not stories[chosen]:
            stories[chosen] = stories[-1]
            stories.pop()


def _references(chance: Random) -> Iterator[str]:
    """Of each next message: none, one of its own, or that of a send to many."""
    for number in count(1):
        kind = chance.random()
        if kind < 0.4:
            yield ""
        elif kind < 0.7:
            yield f"order-{number}"
        else:
            for _ in range(chance.randint(2, LARGEST_SEND)):
                yield f"send-{number}"
