"""The faults of a run of automatic responses, determined by a seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.chaos.faults import Fault, FaultKind

#: Seconds that a killed process stays down.
DOWN = (0.0, 0.5, 3.0)
#: Seconds that a freeze lasts beyond the session time-out.
BEYOND = (1.0, 5.0)
#: Seconds until a process is a member of its group again.
RESTART = 5.0
#: One kill of streams per so many faults of responders.
STREAMS_EVERY = 4


def plan_respond_faults(
    seed: int, seconds: float, kills: int, freezes: int, responders: Sequence[str], session_timeout: float
) -> list[Fault]:
    """Plan so many kills and freezes of responders, spread over the run, and some kills of streams.

    A responder is not hit while it is frozen or restarts: another one is.

    Args:
        responders: at least two names.
    """
    rng = Random(f"faults {seed}")
    kinds: list[FaultKind] = ["kill" for _ in range(kills)]
    kinds += ["freeze" for _ in range(freezes)]
    rng.shuffle(kinds)
    faults: list[Fault] = []
    slot = seconds / max(1, len(kinds))
    busy_until = dict.fromkeys(responders, 0.0)
    for number, kind in enumerate(kinds):
        at = round((number + rng.random()) * slot, 2)
        available = [name for name in responders if busy_until[name] <= at]
        if not available:
            at = round(min(busy_until.values()), 2)
            available = [min(busy_until, key=lambda name: busy_until[name])]
        target = rng.choice(available)
        duration = session_timeout + rng.uniform(*BEYOND) if kind == "freeze" else rng.choice(DOWN)
        faults.append(Fault(at, target, kind, round(duration, 2)))
        busy_until[target] = faults[-1].until + (RESTART if kind == "kill" else 0.0)
        if number % STREAMS_EVERY == STREAMS_EVERY - 1:
            faults.append(Fault(at, "streams-1", "kill", 0.0))
    return sorted(faults)
