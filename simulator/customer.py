"""The customer of the simulated provider: its numbers, and what people write to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from runtime.phone_number import canonical

SHORT_CODES = ("74121", "88588", "312045")
LONG_NUMBERS = ("17575449510", "17575449512", "7575449514")
#: Digits of a short code, at most.
MAX_SHORT_CODE = 6
REPLIES = ("Yes", "no", "OK, danke schön", "5:30 & 2=1 + 42%", "Ack", "Who is this? 🤔", "STOP")
#: What people write to a number that answers, beside its keywords.
QUESTIONS = ("HELP", "Where is my order?", "please stop", "START")


@dataclass(frozen=True)
class Customer:
    """Neither short codes nor long numbers are empty."""

    short_codes: tuple[str, ...] = SHORT_CODES
    long_numbers: tuple[str, ...] = LONG_NUMBERS
    #: Of replies and of messages that come by themselves.
    texts: tuple[str, ...] = REPLIES

    @classmethod
    def with_answers(cls, numbers: Iterable[str], keywords: Iterable[str]) -> Self:
        """A customer that also has these numbers, and answers these keywords.

        People write the keywords in different ways.
        """
        known = {canonical(number) for number in (*SHORT_CODES, *LONG_NUMBERS)}
        others = [number for number in numbers if canonical(number) not in known]
        ways = (str, "{}?".format, str.lower, "{}!".format)
        asked = [ways[index % len(ways)](keyword) for index, keyword in enumerate(keywords)]
        return cls(
            (*SHORT_CODES, *(number for number in others if len(number) <= MAX_SHORT_CODE)),
            (*LONG_NUMBERS, *(number for number in others if len(number) > MAX_SHORT_CODE)),
            tuple(dict.fromkeys((*REPLIES, *QUESTIONS, *asked))),
        )
