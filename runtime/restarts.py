"""How long to wait until a process that ended is started again. Pure."""

from __future__ import annotations

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: A process that lived this long has recovered: longer than it takes to stall again after each start.
RECOVERED = 600.0


def next_pause(last: float, lived: float) -> float:
    """Seconds to wait until a process that lived for `lived` seconds is restarted: doubled each time."""
    return FIRST_PAUSE if lived >= RECOVERED or not last else min(2 * last, LONGEST_PAUSE)
