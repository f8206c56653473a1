"""Responder memory: what contacts and answers take in the memory of each responder, which has all of them.

Each run has a process of its own, so that what one leaves behind is not measured with another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from multiprocessing import get_context
from uuid import UUID

from benchmarks.harness.machine import describe_machine
from benchmarks.harness.result import Result, Target, Trial, figures_by_round
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from benchmarks.harness.usage import memory_bytes
from gateway.postback import format_time
from streams.auto_response import AUTO_RESPONSE_VERSION, AutoResponse
from streams.contact import encode_contact, merge_contact
from streams.contact_event import ContactEvent, Signal, contact_key
from streams.respond.history import KNOWN_FOR, MAX_AHEAD, History
from streams.responder.contacts import CompressedContacts

TITLE = "Responder memory: what a contact and an answer take"
NUMBERS = 200_000
BYTES, SIZE = "bytes each", "bytes encoded"
ONCE = "contact that opted out once"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AT = format_time(NOW)
MAXIMUM_BYTES = 400


async def measure(options: BenchmarkOptions) -> Result:
    """Read `options.size` contacts or answers, in each run."""
    size = options.size or NUMBERS
    candidates = [Candidate(name, partial(_run, name, size)) for name in FILLERS]
    trials = await alternate(candidates, options)
    return Result(
        name="responder_memory",
        machine=describe_machine(),
        conditions=[f"{size:,} numbers; resident memory of a process that reads them"],
        trials=trials,
        targets=_targets(trials),
    )


def _targets(trials: list[Trial]) -> list[Target]:
    measured = [*figures_by_round(trials, ONCE, BYTES).values()]
    return [Target(f"{BYTES}, {ONCE}", "at most", MAXIMUM_BYTES, measured)] if measured else []


async def _run(name: str, size: int) -> Mapping[str, Figures]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return {name: process.submit(_fill, name, size).result()}


def _fill(name: str, size: int) -> Figures:
    """Read so many, and return what each took."""
    memory = memory_bytes(os.getpid())
    kept, encoded = FILLERS[name](size)
    figures = {BYTES: (memory_bytes(os.getpid()) - memory) / size}
    del kept
    return figures | ({SIZE: encoded} if encoded else {})


def _contacts(signals: tuple[Signal, ...], size: int) -> tuple[object, float]:
    contacts, encoded = CompressedContacts(), 0
    for number in range(size):
        contact = None
        for signal in signals:
            contact = merge_contact(contact, _event(number, signal))
        assert contact
        value = encode_contact(contact)
        contacts.apply_state(contact_key(contact.account, contact.number), value)
        encoded += len(value)
    return contacts, encoded / size


def _event(number: int, signal: Signal) -> ContactEvent:
    at = format_time(NOW - timedelta(milliseconds=int.from_bytes(_random(f"{number} {signal}")[:4])))
    return ContactEvent(
        event_id=_random(f"{number} {signal}").hex(),
        account="acme",
        number=_number(number),
        own_number="7575449510",
        signal=signal,
        words="STOP",
        source="response",
        occurred_at=at,
        received_at=at,
        message_id=str(UUID(bytes=_random(f"message {number} {signal}"))),
    )


def _random(seed: str) -> bytes:
    """Bytes that no compression makes shorter, like those of real ids."""
    return blake2b(seed.encode(), digest_size=16).digest()


def _answers(size: int, *, evicts: bool) -> tuple[object, float]:
    history = History()
    for number in range(size):
        for outcome in ("intent", "accepted"):
            history.apply(
                AutoResponse(
                    version=AUTO_RESPONSE_VERSION,
                    event_id=f"{number:032x}",
                    outcome=outcome,
                    account="acme",
                    number=_number(number),
                    own_number="7575449510",
                    rule="hours",
                    day="2026-11-23",
                    attempt=f"{number:032x}",
                    text="We are open from 11:00 to 22:00, every day.",
                    answered_message_id=str(UUID(int=number)),
                    occurred_at=AT,
                    received_at=AT,
                    at=AT,
                )
            )
        if evicts and number % 10_000 == 0:
            history.evict(NOW + KNOWN_FOR + MAX_AHEAD + timedelta(minutes=1))
    return history, 0


def _number(number: int) -> str:
    return f"757{number:07}"


FILLERS: dict[str, Callable[[int], tuple[object, float]]] = {
    ONCE: partial(_contacts, ("opted_out",)),
    "contact that opted out, in, and out": partial(_contacts, ("opted_out", "opted_in", "opted_out")),
    "answer within the last hour": partial(_answers, evicts=False),
    "answer within 30 days": partial(_answers, evicts=True),
}
