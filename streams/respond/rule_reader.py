"""Reads a rule from its TOML table, and collects all of its problems. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple

from runtime.opt_words import consists_of
from sending.segments import count_segments
from streams.contact_event import OPT_OUTS
from streams.opt_out import recognise
from streams.respond.fields import READERS
from streams.respond.rules import HELP_WORDS, Kind, Rule
from streams.respond.schedule import UTC_ZONE, Schedule
from streams.respond.template import PLACEHOLDERS

#: The account of a gateway without tokens.
DEFAULT_ACCOUNT = "default"
DEFAULT_PERIOD, DEFAULT_CAP = timedelta(hours=24), 1_000
#: One of these says which texts a rule is for.
TEXTS = ("keywords", "pattern", "any_text")
MAX_SHOWN = 60


class Problem(NamedTuple):
    """What is wrong at a line of the file, and what is allowed."""

    line: int
    text: str


@dataclass(frozen=True)
class RuleContext:
    """What a rule depends on."""

    #: All numbers of ours by account: those of the file, also of other rules.
    own_numbers: Mapping[str, frozenset[str]]
    partitions: int
    opt_out_words: Collection[str]


class RuleReader:
    """The values of one table that can be read; `problems` has the others."""

    def __init__(self, number: int, table: object, line_of: Callable[..., int]) -> None:
        """
        Args:
            number: of the rule in the file, from 1.
            line_of: the line of a key of the table, or of the table.
        """
        self.problems: list[Problem] = []
        self.values: dict[str, Any] = {}
        self._line_of = line_of
        self._table = table if isinstance(table, dict) else {}
        name = self._table.get("name")
        self._label = f"rule {json.dumps(name)}" if isinstance(name, str) else f"rule {number}"
        for key, value in self._table.items():
            if key not in READERS:
                near = get_close_matches(key, READERS, 1)
                hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(READERS)}"
                self.refuse(key, f"there is no such key; {hint}")
                continue
            try:
                self.values[key] = READERS[key](value)
            except ValueError as error:
                self.refuse(key, str(error))

    @property
    def account(self) -> str:
        account: str = self.values.get("account", DEFAULT_ACCOUNT)
        return account

    def refuse(self, key: str, allowed: str) -> None:
        """Note that the value of a key is wrong, or that it is missing."""
        if key in self._table:
            shown = json.dumps(self._table[key], ensure_ascii=False, default=str)
            shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}…"
            self.problems.append(Problem(self._line_of(key), f"{self._label}: {key} = {shown}: {allowed}"))
        else:
            self.problems.append(Problem(self._line_of(), f"{self._label}: {key} is missing: {allowed}"))

    def build(self, context: RuleContext) -> Rule | None:
        """The rule; None if it has a problem."""
        for key, problem in self._problems(context):
            self.refuse(key, problem)
        if self.problems:
            return None
        values = self.values
        kind = values.get("kind", Kind.TEXT)
        opens, closes = values.get("hours", (time.min, time.min))
        return Rule(
            name=values["name"],
            kind=kind,
            enabled=values.get("enabled", kind is not Kind.OPT_OUT_CONFIRMATION),
            account=self.account,
            own_numbers=values.get("own_numbers") or context.own_numbers[self.account],
            keywords=self._keywords(kind),
            pattern=values.get("pattern"),
            any_text=values.get("any_text", False),
            schedule=Schedule(
                opens, closes, values.get("days", frozenset(range(7))), values.get("time_zone", UTC_ZONE)
            ),
            text=values["text"],
            period=values.get("period", DEFAULT_PERIOD),
            daily_cap=values.get("daily_cap", DEFAULT_CAP),
            **{key: values[key] for key in ("answers", "max_segments") if key in values},
        )

    def _keywords(self, kind: Kind) -> Mapping[str, str]:
        own: Mapping[str, str] = self.values.get("keywords", {})
        return {**HELP_WORDS, **own} if kind is Kind.HELP else own

    def _problems(self, context: RuleContext) -> Iterator[tuple[str, str]]:
        """What is wrong between the values of several keys."""
        values, table = self.values, self._table
        if "name" not in table:
            yield "name", "each rule has one, which its records and metrics show"
        if "text" not in table:
            yield "text", "it is what is answered"
        if not {"account", "own_numbers"} & self._unreadable and not context.own_numbers.get(self.account):
            yield "own_numbers", f"the file names no number of the account {self.account}"
        if ("hours" in values or "days" in values) and "time_zone" not in table:
            yield "time_zone", "hours and days need one"
        cap = values.get("daily_cap", DEFAULT_CAP)
        if cap < context.partitions:
            yield "daily_cap", f"must be at least {context.partitions}: it is divided over so many partitions"
        if "kind" not in self._unreadable:
            yield from self._text_problems(values.get("kind", Kind.TEXT), context.opt_out_words)

    @property
    def _unreadable(self) -> set[str]:
        return self._table.keys() - self.values.keys()

    def _text_problems(self, kind: Kind, opt_out_words: Collection[str]) -> Iterator[tuple[str, str]]:
        given = [key for key in TEXTS if key in self._table]
        if kind is Kind.TEXT and not given:
            yield "keywords", "a rule has keywords, a pattern, or any_text = true"
        allowed = {Kind.TEXT: given[:1], Kind.HELP: ["keywords"], Kind.OPT_OUT_CONFIRMATION: []}[kind]
        for key in given:
            if key not in allowed:
                other = f"beside {given[0]}" if kind is Kind.TEXT else f"in a rule of kind {kind}"
                yield key, f"must be left out {other}"
        for letters, word in self.values.get("keywords", {}).items():
            recognition = recognise(word, opt_out_words)
            if recognition and recognition.signal in OPT_OUTS:
                yield "keywords", f"{word!r} opts out, or may, and is never answered by a keyword"
            elif kind is Kind.TEXT and consists_of(letters, HELP_WORDS):
                yield "keywords", f"{word!r} is answered by a rule of kind help only"
        if template := self.values.get("text"):
            if "keyword" in template.placeholders and "keywords" not in allowed:
                yield "text", "has {keyword}, which needs keywords"
            elif not (text := template.render(self._samples(kind))).strip():
                yield "text", "must have more than {reference}, which is mostly empty"
            else:
                yield from self._segment_problems(text)

    def _samples(self, kind: Kind) -> Mapping[str, str]:
        """Long values of the placeholders; a reference may be longer, and is counted when it is known."""
        longest = max(self._keywords(kind).values(), key=len, default="")
        return dict.fromkeys(PLACEHOLDERS, "") | {
            "number": "2" * 10,
            "own_number": "2" * 10,
            "keyword": longest,
        }

    def _segment_problems(self, text: str) -> Iterator[tuple[str, str]]:
        count, limit = count_segments(text), self.values.get("max_segments", 1)
        if count.segments > limit:
            why = f" (UCS-2, because of {count.not_gsm[:10]})" if count.not_gsm else ""
            yield "text", f"takes {count.segments} segments{why}, more than max_segments = {limit}"
