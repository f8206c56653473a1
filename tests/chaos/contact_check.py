"""Compares contacts and their verdicts with both folds, by number of the handset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from clickhouse_connect.driver.client import Client
from msgspec import Struct, json

from runtime.verdict import Policy, Scope
from streams.contact import decode_contact
from streams.verdict import verdict
from tests.chaos.expected_contacts import Dated, ExpectedContact, Judged
from tests.chaos.readback import ISO, read_contacts

SCOPES: tuple[Scope, ...] = ("number", "account")
POLICIES = tuple(Policy(scope, yes) for scope, yes in product(SCOPES, (False, True)))
#: By number of the handset and number of ours.
Verdicts = Mapping[str, Mapping[str, Judged]]


@dataclass
class ContactFindings:
    """The first difference of each number of a handset."""

    lost: dict[str, str] = field(default_factory=dict)
    superfluous: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.lost or self.superfluous or self.wrong)

    def lines(self) -> Iterator[str]:
        """Yield a line per finding."""
        for kind, findings in (("lost", self.lost), ("superfluous", self.superfluous), ("wrong", self.wrong)):
            yield from (f"{kind} contact: {number}: {found}" for number, found in sorted(findings.items()))

    def compare(self, source: str, expected: Mapping[str, object], actual: Mapping[str, object]) -> None:
        """Compare what a source says about each number with what it must say."""
        for number in expected.keys() | actual.keys():
            must_be, found = expected.get(number), actual.get(number)
            if must_be != found:
                kind = self.lost if found is None else self.superfluous if must_be is None else self.wrong
                kind.setdefault(number, f"{source}: {must_be}\n  is {found}")


class _Mark(Struct):
    signal: str
    at: str
    own_number: str = ""


class _Untimed(Struct):
    signal: str
    received_at: str
    own_number: str = ""


class _Observed(Struct):
    """What the JSON of a contact says; empty fields are omitted from it."""

    number: str
    latest: list[_Mark] = []
    untimed: list[_Untimed] = []


class Marks(NamedTuple):
    """What decides whether a contact may be written to."""

    latest: Mapping[tuple[str, str], str]
    untimed: list[Dated]


_decode = json.Decoder(_Observed).decode


class ContactCheck:
    """Compares what Kafka and ClickHouse have with what must be in them."""

    def __init__(self, folded: Mapping[bytes, bytes], expected: Mapping[str, ExpectedContact] | None) -> None:
        """
        Args:
            folded: the states that follow from the events in Kafka, encoded, by key.
            expected: what follows from the posts, by number; None: not everything was acknowledged.
        """
        self.findings = ContactFindings()
        self._folded = folded
        self._expected = expected

    def compare_states(self, source: str, contacts: Mapping[bytes, bytes]) -> None:
        """Compare encoded states, and the verdicts of Python on them."""
        self.findings.compare(source, _by_number(self._folded), _by_number(contacts))
        if self._expected is None:
            return
        marks = {number: Marks(contact.latest, contact.untimed) for number, contact in self._expected.items()}
        self.findings.compare(f"{source}, by the posts", marks, _marks_of(contacts.values()))
        for policy in POLICIES:
            judged = _judge_states(contacts.values(), self._expected, policy)
            self.findings.compare(f"{source}, {policy}", _expected_verdicts(self._expected, policy), judged)

    def compare_stored(self, client: Client, moment: str) -> None:
        """Compare ClickHouse's views of contacts and of verdicts."""
        self.compare_states(f"ClickHouse {moment}", dict(read_contacts(client)))
        if self._expected is None:
            return
        for policy in POLICIES:
            expected = _expected_verdicts(self._expected, policy)
            source = f"verdicts in ClickHouse {moment}, {policy}"
            self.findings.compare(source, expected, _read_verdicts(client, policy))


def _by_number(contacts: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {key.decode().partition("/")[2]: contact for key, contact in contacts.items()}


def _marks_of(contacts: Iterable[bytes]) -> dict[str, Marks]:
    observed = map(_decode, contacts)
    return {
        contact.number: Marks(
            {(mark.own_number, mark.signal): mark.at for mark in contact.latest},
            sorted(Dated(each.received_at, each.signal, each.own_number) for each in contact.untimed),
        )
        for contact in observed
    }


def _expected_verdicts(expected: Mapping[str, ExpectedContact], policy: Policy) -> Verdicts:
    return {
        number: {
            own_number: contact.judge(own_number, policy.scope, policy.yes_opts_in)
            for own_number in contact.own_numbers
        }
        for number, contact in expected.items()
    }


def _judge_states(
    contacts: Iterable[bytes], expected: Mapping[str, ExpectedContact], policy: Policy
) -> Verdicts:
    """The verdicts of Python, for the numbers of ours that are expected."""
    found: dict[str, dict[str, Judged]] = {}
    for contact in map(decode_contact, contacts):
        own_numbers = expected[contact.number].own_numbers if contact.number in expected else {""}
        found[contact.number] = {
            own_number: Judged(*verdict(contact, own_number, policy)[:2]) for own_number in own_numbers
        }
    return found


def _read_verdicts(client: Client, policy: Policy) -> Verdicts:
    found = defaultdict[str, dict[str, Judged]](dict)
    query = f"SELECT * FROM contact_verdicts(scope = '{policy.scope}', yes = {policy.yes_opts_in:d})"
    for line in client.raw_query(query, fmt="JSONEachRow", settings=ISO).splitlines():
        row = json.decode(line)
        found[row["number"]][row["own_number"]] = Judged(row["verdict"], row["since"])
    return found
