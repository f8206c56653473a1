"""How long what ended is left alone before it is started again."""

from __future__ import annotations

from itertools import pairwise

from runtime.restarts import FIRST_PAUSE, LONGEST_PAUSE, RECOVERED, next_pause


def test_the_pause_before_a_new_start_grows_up_to_a_limit() -> None:
    pauses = [0.0]
    for _ in range(12):
        pauses.append(next_pause(pauses[-1], lived=1))
    assert pauses[1] == FIRST_PAUSE
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[-1] == LONGEST_PAUSE


def test_who_lived_long_enough_is_started_again_at_once() -> None:
    assert next_pause(LONGEST_PAUSE, lived=RECOVERED) == FIRST_PAUSE
