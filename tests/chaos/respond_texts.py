"""Texts of responses, and what the rules of examples/rules.toml say about each.

Written down by hand, so that the check of a run does not ask the code that it checks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from simulator.replies import NEAR_MISSES, OTHER, START, STOP

SHORT_CODE, LONG_NUMBER = "74121", "7575449510"
#: Seconds between two answers of a rule to a handset, and answers of it per day.
PERIODS = {"help": 60, "hours": 3_600, "where-is-my-order": 86_400, "closed": 43_200}
CAPS = {"help": 1_000, "hours": 1_000, "where-is-my-order": 5_000, "closed": 1_000}
#: The rule whose keywords a text consists of.
_KEYWORDS = {
    **dict.fromkeys(("HELP", "help", "INFO?", "INFO", "info"), "help"),
    **dict.fromkeys(("HOURS", "hours", "Hours?", "OPEN!", "open"), "hours"),
}
WHERE = "Where is my order?"
#: Texts after which a handset must not be written to, or may be again, and those that may be suspected.
BLOCKING = frozenset({*STOP, "please stop"})
OPTING_IN = frozenset(START)
UNCLEAR = frozenset(NEAR_MISSES)
_PLAIN = frozenset({*_KEYWORDS, WHERE, *OTHER, "Yes", "no", "OK, danke schön", "5:30 & 2=1 + 42%", "Ack"})
#: The simulator splits long replies: the second part.
CONTINUED = "… and this did not fit: "
#: Of the rule `closed`; within so many seconds of their ends the rule may apply or not.
_ZONE, _OPENS, _CLOSES, _TOLERANCE = ZoneInfo("America/New_York"), 11, 22, timedelta(seconds=180)


class Meaning(NamedTuple):
    """What a response asks for."""

    #: The rule that answers; empty: none.
    rule: str
    #: False: the rule may answer or not.
    is_certain: bool
    #: blocking, opting_in, unclear, or empty.
    signal: str


def meaning_of(text: str, own_number: str, is_reply: bool, received_at: float) -> Meaning:
    """What a response means.

    Args:
        own_number: canonical.
        received_at: seconds since 1970.

    Raises:
        KeyError: a text that is not listed here.
    """
    signal = _signal_of(text)
    if own_number not in (SHORT_CODE, LONG_NUMBER) or signal == "blocking":
        return Meaning("", True, signal)
    if rule := _KEYWORDS.get(text):
        return Meaning(rule, True, signal)
    if WHERE in text and is_reply:
        return Meaning("where-is-my-order", True, signal)
    if own_number == LONG_NUMBER and not is_reply:
        nights = {_is_night(received_at, shift) for shift in (-_TOLERANCE, _TOLERANCE)}
        if nights != {False}:
            return Meaning("closed", nights == {True} and signal != "unclear", signal)
    return Meaning("", True, signal)


def _signal_of(text: str) -> str:
    if text.startswith(CONTINUED):
        first = text.removeprefix(CONTINUED)
        return "" if first in _PLAIN else "unclear"
    for signal, texts in (("blocking", BLOCKING), ("opting_in", OPTING_IN), ("unclear", UNCLEAR)):
        if text in texts:
            return signal
    if text not in _PLAIN:
        raise KeyError(text)
    return ""


def _is_night(at: float, shift: timedelta) -> bool:
    hour = (datetime.fromtimestamp(at, UTC) + shift).astimezone(_ZONE).hour
    return hour < _OPENS or hour >= _CLOSES
