"""What contacts must become by what was acknowledged: a fold that shares no code with the pipeline.

It replays the statements of each handset in the order of the provider's clock. An opt-out without a readable
time counts from when it was first received; this time, which the gateway assigns, comes from Kafka.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qs

from simulator.postback import SimulatedPostback
from tests.chaos.contact_texts import OPTED_IN, OPTED_OUT, SUSPECTED, YES, signal_of
from tests.chaos.expected import SubmittedAnswer
from tests.chaos.readback import Digest, digest_of

#: Of statements at the same time the last one prevails.
AT_A_TIE = (OPTED_IN, YES, SUSPECTED, OPTED_OUT)
#: Verdicts, of which the severest is the one for any number of ours.
SEVERITY = ("ok", SUSPECTED, OPTED_OUT)
#: A number of ours that no statement is about.
UNMENTIONED = "none"
US_TIME = "%m/%d/%Y %I:%M:%S %p"

#: When the records of each body were received, in ISO 8601, by the gateway's clock.
ReceivedAt = Mapping[Digest, Collection[str]]


class Judged(NamedTuple):
    """A verdict, and the time of the statement that decides it; None: there is none."""

    verdict: str
    since: str | None


class Statement(NamedTuple):
    """What a response, or the refusal of a send, says about being written to."""

    signal: str
    own_number: str
    #: By the provider's clock, in ISO 8601; None: it has no readable time.
    at: str | None
    digest: Digest
    #: Whether each record of it is a statement, as it has no id by which it is the same one.
    is_repeatable: bool = False


class Dated(NamedTuple):
    """A statement with the time from which it counts."""

    at: str
    signal: str
    own_number: str


@dataclass(frozen=True)
class ExpectedContact:
    """What one handset has said."""

    #: Those with a time of the provider.
    timed: list[Dated]
    #: Opt-outs without one.
    untimed: list[Dated]
    #: All that it has written to, and empty for any of them.
    own_numbers: frozenset[str]

    @property
    def latest(self) -> dict[tuple[str, str], str]:
        """The greatest time of the provider, by number of ours and signal."""
        greatest: dict[tuple[str, str], str] = {}
        for each in self.timed:
            mark = each.own_number, each.signal
            greatest[mark] = max(each.at, greatest.get(mark, ""))
        return greatest

    def judge(self, own_number: str, scope: str, yes: bool) -> Judged:
        """Whether it may be written to from this number of ours; empty: from any.

        Args:
            scope: `account`, or `number` if a statement counts for one number of ours only.
            yes: whether the reply YES opts in.
        """
        if scope == "number" and not own_number:
            each_number = [self.judge(own, scope, yes) for own in {*self.own_numbers, UNMENTIONED} - {""}]
            return max(each_number, key=lambda judged: (SEVERITY.index(judged.verdict), judged.since or ""))
        counting = [
            each
            for each in (*self.timed, *self.untimed)
            if scope == "account" or each.own_number in (own_number, "")
        ]
        counting.sort(key=lambda each: (each.at, AT_A_TIE.index(each.signal)))
        judged = Judged("ok", None)
        for at, signal, _ in counting:
            if signal == OPTED_IN or (signal == YES and yes):
                judged = Judged("ok", at)
            elif signal == OPTED_OUT or (signal == SUSPECTED and judged.verdict != OPTED_OUT):
                judged = Judged(signal, at)
        return judged


class ExpectedContacts:
    """Statements by handset. Each distinct response and answer is added once."""

    def __init__(self) -> None:
        self._statements: defaultdict[str, list[Statement]] = defaultdict(list)
        #: Not yet in the statements: runs that do not check contacts have texts of which the meaning is open.
        self._responses: list[SimulatedPostback] = []

    def add_postback(self, postback: SimulatedPostback) -> None:
        if postback.kind in ("reply", "inbound"):
            self._responses.append(postback)

    def _read_response(self, postback: SimulatedPostback) -> None:
        fields = {name: value for name, (value,) in parse_qs(postback.body.decode(), True).items()}
        if signal := signal_of(fields["Message"]):
            own_number, at = _canonical(fields["ToPhoneNumber"]), _read_time(fields["ResponseReceiveDate"])
            statement = Statement(signal, own_number, at, digest_of(postback.body))
            self._statements[_canonical(fields["FromPhoneNumber"])].append(statement)

    def add_answer(self, answer: SubmittedAnswer) -> None:
        if answer.blocked:
            handset, own_number = map(_canonical, answer.blocked)
            without_id = answer.message_id is None
            statement = Statement(OPTED_OUT, own_number, None, digest_of(answer.raw), without_id)
            self._statements[handset].append(statement)

    def contacts(self, received_at: ReceivedAt) -> dict[str, ExpectedContact]:
        """The contacts by number.

        Raises:
            KeyError: a text of a response that `contact_texts` does not list.
        """
        while self._responses:
            self._read_response(self._responses.pop())
        return {
            handset: ExpectedContact(
                [Dated(each.at, each.signal, each.own_number) for each in statements if each.at],
                sorted(_date_opt_outs(statements, received_at)),
                frozenset({"", *(each.own_number for each in statements)}),
            )
            for handset, statements in self._statements.items()
        }


def _date_opt_outs(statements: Iterable[Statement], received_at: ReceivedAt) -> Iterator[Dated]:
    """Yield opt-outs without a time of the provider, from when they count."""
    for each in statements:
        if each.at is None and each.signal in (OPTED_OUT, SUSPECTED):
            received = received_at.get(each.digest, ())  # empty: lost
            for at in received if each.is_repeatable else [min(received, default="")]:
                yield Dated(at, each.signal, each.own_number)


def _canonical(number: str) -> str:
    return number[1:] if len(number) == 11 and number.startswith("1") else number


def _read_time(text: str) -> str | None:
    try:
        return datetime.strptime(text, US_TIME).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    except ValueError:
        return None
