"""How long to wait until a process that ended is started again. Pure."""

from __future__ import annotations

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Who lived this long has recovered; its next end is a new story.
RECOVERED = 60.0


def next_pause(last: float, lived: float) -> float:
    """Seconds to wait until a process that lived for `lived` seconds is started again: ever longer."""
    return FIRST_PAUSE if lived >= RECOVERED or not last else min(2 * last, LONGEST_PAUSE)
