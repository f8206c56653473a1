"""How the simulated provider treats a send: as its ReferenceID or number says, else by chance. Pure.

| in the ReferenceID | number | the provider |
|---|---|---|
| `error-N` | …555-0100 to 555-0110: `NN` is the last two digits | refuses it with SMSError N |
| `drop-before` | …555-0120 | closes the connection without an answer, and accepts nothing |
| `drop-after` | …555-0121 | accepts it, and closes the connection without an answer |
| `silent` | …555-0122 | accepts it, and posts nothing about it |
| `delay-S` | …555-0130 to 555-0139 | answers after S seconds; of a number, its last digit |

These numbers are reserved for fiction, so no message to them can arrive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from gateway.sms_errors import NO_ERROR, SMS_ERRORS
from simulator.calls import SendRequest

_RULE = re.compile(
    r"(?<![a-z])(?:error-(?P<error>[0-9]{1,6})|drop-(?P<drop>before|after)|(?P<silent>silent)"
    r"|delay-(?P<delay>[0-9]{1,3}(?:\.[0-9]{1,3})?))(?![0-9a-z])"
)
_FICTIONAL = re.compile(r"1?[0-9]{3}55501(?P<rule>[0-9]{2})")
_NUMBER = re.compile(r"1?[2-9][0-9]{9}")
#: Numbers of SMSError: of what the request itself gets wrong, and of all that chance may pick.
LICENSE_KEY_INVALID, PHONE_NUMBER_INVALID, MESSAGE_INVALID, SCHEDULE_NOT_UTC = 2, 3, 4, 5
REFUSALS = tuple(error.number for error in SMS_ERRORS if error.number != NO_ERROR)


class Drop(StrEnum):
    """When the connection is closed without an answer."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Odds:
    """What happens to sends without a rule."""

    #: Share of messages that are refused, with any SMSError.
    refused: float = 0.0
    #: Share of calls whose connection is dropped, half of them after the message is accepted.
    dropped: float = 0.0
    #: Share of accepted messages that nothing is posted about.
    silent: float = 0.0
    #: Seconds until an answer, at most.
    delay: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What becomes of a message."""

    error: int = NO_ERROR
    drop: Drop | None = None
    silent: bool = False
    #: Seconds until the answer.
    delay: float = 0.0


def judge(request: SendRequest, odds: Odds, rng: Random) -> Verdict:
    """Decide what becomes of a message."""
    by_rule = _by_reference(request.reference_id) or _by_number(request.to_number)
    error = _mistake(request)
    if by_rule or error:
        return by_rule or Verdict(error)
    return Verdict(
        rng.choice(REFUSALS) if rng.random() < odds.refused else NO_ERROR,
        rng.choice(list(Drop)) if rng.random() < odds.dropped else None,
        rng.random() < odds.silent,
        rng.uniform(0, odds.delay),
    )


def _by_reference(reference_id: str) -> Verdict | None:
    verdict = None
    for rule in _RULE.finditer(reference_id):
        before = verdict or Verdict()
        verdict = Verdict(
            int(rule["error"]) if rule["error"] else before.error,
            Drop(rule["drop"]) if rule["drop"] else before.drop,
            before.silent or bool(rule["silent"]),
            float(rule["delay"]) if rule["delay"] else before.delay,
        )
    return verdict


def _by_number(number: str) -> Verdict | None:
    if not (match := _FICTIONAL.fullmatch(number)):
        return None
    rule = int(match["rule"])
    if rule <= max(REFUSALS):
        return Verdict(rule)
    if rule in (20, 21):
        return Verdict(drop=Drop.BEFORE if rule == 20 else Drop.AFTER)
    if rule == 22:
        return Verdict(silent=True)
    return Verdict(delay=rule - 30) if 30 <= rule < 40 else None


def _mistake(request: SendRequest) -> int:
    """The SMSError of a request that the provider cannot accept."""
    if not request.license_key:
        return LICENSE_KEY_INVALID
    if not _NUMBER.fullmatch(request.to_number):
        return PHONE_NUMBER_INVALID
    if not request.text.strip():
        return MESSAGE_INVALID
    return SCHEDULE_NOT_UTC if request.wrong_schedule else NO_ERROR
