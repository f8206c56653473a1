"""Whether a rule is for a response, or why not. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from gateway.postback import Response
from runtime.opt_words import consists_of, letters_of
from runtime.phone_number import canonical
from streams.contact_event import Signal
from streams.merge import MAX_NUMBER
from streams.opt_out import recognise
from streams.respond.rules import HELP_WORDS, Answers, Kind, Rule

#: Characters of a text in which a pattern is searched.
MAX_SEARCHED = 1_000


class Mismatch(StrEnum):
    """Why a rule is not for a response."""

    DISABLED = "it is not enabled"
    ACCOUNT = "the account is another one"
    OWN_NUMBER = "it is for other numbers of ours"
    REPLY = "the text is a reply, the rule is for inbound messages"
    INBOUND = "the text comes by itself, the rule is for replies"
    SCHEDULE = "it does not apply at this time"
    HELP = "only a rule of kind help answers HELP and INFO"
    OPT_OUT = "the text opts out"
    NO_OPT_OUT = "the text is no certain opt-out"
    KEYWORDS = "the text is none of its keywords"
    PATTERN = "its pattern is not in the text"


class Incoming(NamedTuple):
    """What rules see of a response."""

    account: str
    #: Canonical.
    number: str
    own_number: str
    is_reply: bool
    text: str
    letters: str
    signal: Signal | None

    @classmethod
    def of(cls, response: Response, opt_out_words: Collection[str]) -> Incoming:
        recognition = recognise(response.text, opt_out_words)
        return cls(
            response.account,
            canonical(response.from_number)[:MAX_NUMBER],
            canonical(response.to_number)[:MAX_NUMBER],
            response.matched,
            response.text,
            letters_of(response.text),
            recognition.signal if recognition else None,
        )


def find_mismatch(rule: Rule, incoming: Incoming, now: datetime) -> Mismatch | None:
    """Why the rule is not for the response; None if it is."""
    if not rule.enabled:
        return Mismatch.DISABLED
    if rule.account != incoming.account:
        return Mismatch.ACCOUNT
    if incoming.own_number not in rule.own_numbers:
        return Mismatch.OWN_NUMBER
    if rule.answers is Answers.INBOUND and incoming.is_reply:
        return Mismatch.REPLY
    if rule.answers is Answers.REPLIES and not incoming.is_reply:
        return Mismatch.INBOUND
    return _text_mismatch(rule, incoming) or (None if rule.schedule.includes(now) else Mismatch.SCHEDULE)


def _text_mismatch(rule: Rule, incoming: Incoming) -> Mismatch | None:
    if rule.kind is Kind.OPT_OUT_CONFIRMATION:
        return None if incoming.signal == "opted_out" else Mismatch.NO_OPT_OUT
    if incoming.signal == "opted_out":
        return Mismatch.OPT_OUT
    if rule.kind is Kind.TEXT and consists_of(incoming.letters, HELP_WORDS):
        return Mismatch.HELP
    if rule.any_text:
        return None
    if rule.pattern is not None:
        return None if rule.pattern.search(incoming.text[:MAX_SEARCHED]) else Mismatch.PATTERN
    return None if consists_of(incoming.letters, rule.keywords) else Mismatch.KEYWORDS


def keyword_in(rule: Rule, incoming: Incoming) -> str:
    """The first keyword of the text, as the rule spells it; empty if the rule has none."""
    letters = incoming.letters
    return next(
        (
            word
            for key, word in rule.keywords.items()
            if letters == key or (letters.startswith(key) and consists_of(letters[len(key) :], rule.keywords))
        ),
        "",
    )
