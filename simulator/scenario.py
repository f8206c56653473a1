"""What happens to one message, from its first attempt to its last reply, in the order it is told.

The shares are a judgement, weighted so that a few thousand messages have met everything that the provider's
documents speak of: refusals and their retries, receipts that overtake each other or contradict, gaps,
repeats, and codes that nobody listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar
from uuid import UUID

from simulator.postback import (
    ZERO_GUID,
    Message,
    SimulatedPostback,
    inbound,
    receipt,
    receipt_text,
    refused,
    reply,
    sent,
)

T = TypeVar("T")

#: Attempts that are told, x refused and o taken, and how many of 1,000 messages have them.
ATTEMPTS = {"o": 930, "xo": 20, "xxo": 10, "x": 5, "xx": 5, "xxx": 20, "": 10}
#: Codes of the receipts of a message from a short code, in the order of their arrival.
RECEIPTS = {
    (): 80,
    ("003",): 120,
    ("000",): 80,
    ("003", "000"): 500,
    ("004", "003", "000"): 60,
    ("000", "003"): 60,
    ("003", "005"): 20,
    ("003", "024"): 15,
    ("008",): 10,
    ("023",): 10,
    ("028",): 5,
    ("091",): 10,
    ("090", "003"): 5,
    ("000", "024"): 5,
    ("003", "747"): 10,
    ("998",): 10,
}
STATES = {
    "000": "DELIVRD",
    "003": "DELIVERED TO CARRIER",
    "004": "ACCEPTD",
    "008": "EXPIRED",
    "023": "Rejected",
}
REPLIES = ("Yes", "no", "OK, danke schön", "5:30 & 2=1 + 42%", "Ack", "Who is this? 🤔", "STOP")
#: How an inbound message says that it matches none: not at all, empty, zero, zero with a digit missing.
NO_MATCH = (None, "", ZERO_GUID, ZERO_GUID[:-1])
SHORT_CODES = ("74121", "88588", "312045")
LONG_NUMBERS = ("17575449510", "17575449512", "7575449514")
RECEIPTS_FROM_SHORT_CODES_ONLY = 0.6
INBOUND, ANSWERED, ANSWERED_TWICE, IN_CHUNKS = 0.06, 0.08, 0.2, 0.05
OVERTAKEN, REPEATED = 0.02, 0.02


def generate(chance: Random, reference_id: str, at: datetime) -> list[SimulatedPostback]:
    """The packets of a story that begins at that time; at least one."""
    if chance.random() < INBOUND:
        return _with_repeats(chance, _inbound(chance, at))
    short = chance.random() < RECEIPTS_FROM_SHORT_CODES_ONLY
    sender = chance.choice(SHORT_CODES if short else LONG_NUMBERS)
    message = Message(_guid(chance), reference_id, sender, _phone(chance))
    attempts = _draw(chance, ATTEMPTS)
    packets = [
        (sent if attempt == "o" else refused)(message, at + timedelta(seconds=40 * number))
        for number, attempt in enumerate(attempts)
    ]
    if "o" in attempts or not attempts:
        packets += _receipts(chance, message, at) if short else []
        packets += _replies(chance, message, at)
        if not packets:
            packets = [sent(message, at)]
    if chance.random() < OVERTAKEN:
        packets.append(packets.pop(0))
    return _with_repeats(chance, packets)


def _receipts(chance: Random, message: Message, at: datetime) -> list[SimulatedPostback]:
    number = chance.randrange(10**16, 10**17)
    packets = []
    for code in _draw(chance, RECEIPTS):
        error = "000" if code == "003" and chance.random() < 0.05 else code
        text = receipt_text(number, STATES.get(code, "UNDELIV"), error, at, at + timedelta(minutes=1))
        if code == "000" and chance.random() < 0.02:
            text = "DeliveredToDevice"  # what a picture message gets
        if code != "091":
            packets.append(receipt(message, code, text))
            continue
        # The carrier is not reached by short codes: sent again from a long number, as another message.
        again = Message(_guid(chance), message.reference_id, chance.choice(LONG_NUMBERS), message.recipient)
        packets += [receipt(message, code, text, again.message_id), sent(again, at + timedelta(minutes=2))]
    return packets


def _replies(chance: Random, message: Message, at: datetime) -> list[SimulatedPostback]:
    if chance.random() >= ANSWERED:
        return []
    reply_id, text, later = _guid(chance), chance.choice(REPLIES), at + timedelta(minutes=3)
    packets = [reply(message, reply_id, text, later)]
    if chance.random() < IN_CHUNKS:
        packets.append(reply(message, reply_id, f"… and this did not fit: {text}", later))
    if chance.random() < ANSWERED_TWICE:
        packets.append(reply(message, _guid(chance), chance.choice(REPLIES), later + timedelta(minutes=1)))
    return packets


def _inbound(chance: Random, at: datetime) -> list[SimulatedPostback]:
    message = Message(_guid(chance), "", chance.choice(LONG_NUMBERS), _phone(chance))
    return [inbound(message, chance.choice(NO_MATCH), chance.choice(REPLIES), at)]


def _with_repeats(chance: Random, packets: Sequence[SimulatedPostback]) -> list[SimulatedPostback]:
    """Some come a second time, right away or after others."""
    told = list(packets)
    for packet in packets:
        if chance.random() < REPEATED:
            told.insert(chance.randint(told.index(packet) + 1, len(told)), packet)
    return told


def _draw(chance: Random, shares: Mapping[T, int]) -> T:
    return chance.choices(list(shares), list(shares.values()))[0]


def _guid(chance: Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _phone(chance: Random) -> str:
    return f"1{chance.randrange(2_000_000_000, 10_000_000_000)}"
