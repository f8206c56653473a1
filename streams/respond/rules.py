"""Rules of automatic responses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from streams.respond.pattern import Pattern
from streams.respond.schedule import ALWAYS, Schedule
from streams.respond.template import Template

#: Answered by rules of the kind `help` only: the letters, and the spelling.
HELP_WORDS = {"help": "HELP", "info": "INFO"}
#: The only answer to an opt-out is sent within this time of it.
CONFIRM_WITHIN = timedelta(minutes=5)


class Kind(StrEnum):
    #: Answers a text with a keyword, one that a pattern matches, or any text.
    TEXT = "text"
    #: Answers HELP and INFO, and further keywords.
    HELP = "help"
    #: Confirms a certain opt-out. Off unless enabled.
    OPT_OUT_CONFIRMATION = "opt_out_confirmation"


class Answers(StrEnum):
    ALL = "all"
    #: Responses to a message of ours.
    REPLIES = "replies"
    #: Messages that come by themselves.
    INBOUND = "inbound"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which responses get which answer."""

    name: str
    kind: Kind = Kind.TEXT
    enabled: bool = True
    account: str
    #: Ours, canonical: those that a response was sent to. Never empty.
    own_numbers: frozenset[str]
    #: Spellings by their letters (`runtime.opt_words.letters_of`).
    keywords: Mapping[str, str] = field(default_factory=dict)
    #: Searched in the text.
    pattern: Pattern | None = None
    any_text: bool = False
    answers: Answers = Answers.ALL
    schedule: Schedule = ALWAYS
    text: Template
    #: At most one answer of this rule per handset in this time.
    period: timedelta
    #: Answers of this rule per day of its time zone, over all partitions.
    daily_cap: int
    max_segments: int = 1

    def partition_cap(self, partitions: int) -> int:
        """Answers per day in each of so many partitions."""
        return self.daily_cap // partitions


@dataclass(frozen=True)
class Rules:
    """All rules in the order of the file; of those that match a response the first one decides."""

    rules: tuple[Rule, ...]
    #: Canonical, by account.
    own_numbers: Mapping[str, frozenset[str]]

    def is_own_number(self, number: str) -> bool:
        """Whether a canonical number is ours, of any account: answering it would be a loop."""
        return any(number in numbers for numbers in self.own_numbers.values())

    def get(self, name: str) -> Rule | None:
        """The rule of that name."""
        return next((rule for rule in self.rules if rule.name == name), None)
