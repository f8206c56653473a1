"""Interleaves many scenarios into one stream of postbacks; those about one message stay in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from random import Random

from simulator.customer import Customer
from simulator.postback import SimulatedPostback
from simulator.scenario import DEFAULT_CUSTOMER, generate

#: Maximum number of recipients of one send, which share its ReferenceID.
MAX_RECIPIENTS = 50


def traffic(
    seed: int,
    concurrency: int,
    clock: Callable[[int], datetime],
    customer: Customer = DEFAULT_CUSTOMER,
) -> Iterator[SimulatedPostback]:
    """Yield postbacks without end; deterministic.

    Args:
        concurrency: number of scenarios that are interleaved.
        clock: returns the time at which postback number n is due.
    """
    rng = Random(seed)
    references = _reference_ids(rng)
    scenarios: list[deque[SimulatedPostback]] = []
    for number in count():
        while len(scenarios) < concurrency:
            scenarios.append(deque(generate(rng, next(references), clock(number), customer)))
        index = rng.randrange(len(scenarios))
        yield scenarios[index].popleft()
        if not scenarios[index]:
            scenarios[index] = scenarios[-1]
            scenarios.pop()


def _reference_ids(rng: Random) -> Iterator[str]:
    """Yield the ReferenceID of each next message: empty, unique, or shared by the recipients of one send."""
    for number in count(1):
        kind = rng.random()
        if kind < 0.4:
            yield ""
        elif kind < 0.7:
            yield f"order-{number}"
        else:
            for _ in range(rng.randint(2, MAX_RECIPIENTS)):
                yield f"send-{number}"
