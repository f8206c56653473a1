"""Generates the postbacks about one message, from the first attempt to the last reply, in order of arrival.

The shares are estimates, chosen so that a few thousand messages cover everything in the provider's
documentation: refusals and retries, receipts out of order or contradictory, missing and duplicated postbacks,
undocumented codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar
from uuid import UUID

from simulator.customer import LONG_NUMBERS, MAX_SHORT_CODE, REPLIES, Customer
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

#: Attempts (x refused, o accepted) and how many of 1,000 messages have them.
ATTEMPTS = {"o": 930, "xo": 20, "xxo": 10, "x": 5, "xx": 5, "xxx": 20, "": 10}
#: Receipt codes of a message from a short code, in order of arrival, and how many of 1,000 have them.
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
RECEIPT_STATUSES = {
    "000": "DELIVRD",
    "003": "DELIVERED TO CARRIER",
    "004": "ACCEPTD",
    "008": "EXPIRED",
    "023": "Rejected",
}
#: MatchedMessageID of an inbound message: no field, empty, zero, zero with a digit missing.
NO_MATCH = (None, "", ZERO_GUID, ZERO_GUID[:-1])
#: Only messages from short codes get receipts.
SHORT_CODE_SHARE = 0.6
INBOUND_SHARE, REPLY_SHARE, SECOND_REPLY_SHARE, SPLIT_REPLY_SHARE = 0.06, 0.08, 0.2, 0.05
REORDERED_SHARE, DUPLICATED_SHARE = 0.02, 0.02
DEFAULT_CUSTOMER = Customer()


def generate(
    rng: Random, reference_id: str, at: datetime, customer: Customer = DEFAULT_CUSTOMER
) -> list[SimulatedPostback]:
    """Generate at least one postback; `at` is the time of the first attempt."""
    if rng.random() < INBOUND_SHARE:
        return write_first(rng, at, customer)
    short = rng.random() < SHORT_CODE_SHARE
    sender = rng.choice(customer.short_codes if short else customer.long_numbers)
    message = Message(new_guid(rng), reference_id, sender, _phone(rng))
    return follow(rng, message, at, customer.texts)


def follow(
    rng: Random, message: Message, at: datetime, replies: Sequence[str] = REPLIES
) -> list[SimulatedPostback]:
    """Generate what becomes of an outgoing message: at least one postback.

    Args:
        at: the time of the first attempt.
        replies: texts of which the recipient may reply one or two.
    """
    short = len(message.sender) <= MAX_SHORT_CODE
    attempts = _draw(rng, ATTEMPTS)
    postbacks = [
        (sent if attempt == "o" else refused)(message, at + timedelta(seconds=40 * number))
        for number, attempt in enumerate(attempts)
    ]
    if "o" in attempts or not attempts:
        postbacks += _receipts(rng, message, at) if short else []
        postbacks += _replies(rng, message, at, replies)
        if not postbacks:
            postbacks = [sent(message, at)]
    if rng.random() < REORDERED_SHARE:
        postbacks.append(postbacks.pop(0))
    return _with_duplicates(rng, postbacks)


def write_first(rng: Random, at: datetime, customer: Customer, number: str = "") -> list[SimulatedPostback]:
    """Generate a message that is not a reply, by default to any long number."""
    message = Message(new_guid(rng), "", number or rng.choice(customer.long_numbers), _phone(rng))
    return _with_duplicates(rng, [inbound(message, rng.choice(NO_MATCH), rng.choice(customer.texts), at)])


def new_guid(rng: Random) -> str:
    """Generate the id of a message."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def _receipts(rng: Random, message: Message, at: datetime) -> list[SimulatedPostback]:
    number = rng.randrange(10**16, 10**17)
    postbacks = []
    for code in _draw(rng, RECEIPTS):
        error = "000" if code == "003" and rng.random() < 0.05 else code
        text = receipt_text(
            number, RECEIPT_STATUSES.get(code, "UNDELIV"), error, at, at + timedelta(minutes=1)
        )
        if code == "000" and rng.random() < 0.02:
            text = "DeliveredToDevice"  # the receipt of a picture message
        if code != "091":
            postbacks.append(receipt(message, code, text))
            continue
        # Short codes do not reach this carrier: the provider resends from a long number, as another message.
        backup = Message(new_guid(rng), message.reference_id, rng.choice(LONG_NUMBERS), message.recipient)
        postbacks += [
            receipt(message, code, text, backup.message_id),
            sent(backup, at + timedelta(minutes=2)),
        ]
    return postbacks


def _replies(rng: Random, message: Message, at: datetime, texts: Sequence[str]) -> list[SimulatedPostback]:
    if rng.random() >= REPLY_SHARE:
        return []
    reply_id, text, later = new_guid(rng), rng.choice(texts), at + timedelta(minutes=3)
    postbacks = [reply(message, reply_id, text, later)]
    if rng.random() < SPLIT_REPLY_SHARE:
        postbacks.append(reply(message, reply_id, f"… and this did not fit: {text}", later))
    if rng.random() < SECOND_REPLY_SHARE:
        postbacks.append(reply(message, new_guid(rng), rng.choice(texts), later + timedelta(minutes=1)))
    return postbacks


def _with_duplicates(rng: Random, postbacks: Sequence[SimulatedPostback]) -> list[SimulatedPostback]:
    """Duplicate some postbacks, immediately or later."""
    result = list(postbacks)
    for postback in postbacks:
        if rng.random() < DUPLICATED_SHARE:
            result.insert(rng.randint(result.index(postback) + 1, len(result)), postback)
    return result


def _draw(rng: Random, shares: Mapping[T, int]) -> T:
    return rng.choices(list(shares), list(shares.values()))[0]


def _phone(rng: Random) -> str:
    return f"1{rng.randrange(2_000_000_000, 10_000_000_000)}"
