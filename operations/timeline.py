"""What became of a message, told in the order in which we heard of it. Pure: a message in, lines out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from gateway.postback import Time
from streams.message import Attempt, Message, ReceiptFact, Reply, Status
from streams.receipt_codes import CODES, parse_receipt_text

STATUS_MEANS: dict[Status, str] = {
    "delivered": "the phone has it",
    "failed": "the carrier could not deliver it",
    "in_transit": "the carrier has it; nothing final was heard",
    "sent": "the provider handed it to the carrier's side; no receipt yet",
    "cancelled": "refused three times, so the provider gave it up",
    "retrying": "refused by the carrier's side; the provider tries three times",
    "received": "somebody wrote by themselves",
    "unknown": "nothing is known of its sending or its delivery",
}
STATUS_COLOUR: dict[Status, str] = {
    "delivered": "green",
    "failed": "red",
    "in_transit": "cyan",
    "sent": "cyan",
    "cancelled": "red",
    "retrying": "yellow",
    "received": "blue",
    "unknown": "yellow",
}
CODE_MEANS = {"delivered": "delivered", "in_transit": "on its way", "failed": "failed"}


@dataclass(frozen=True)
class Entry:
    """One thing that happened: when we heard of it, what it was, and what is to be said of it."""

    at: Time
    what: str
    detail: str


def entries(message: Message) -> list[Entry]:
    """All that happened, in order."""
    found = [
        *_attempts(message.attempts),
        *map(_receipt, message.receipts),
        *(_reply(reply, message) for reply in message.replies),
    ]
    if message.overdue_at:
        found.append(Entry(message.overdue_at, "overdue", "no receipt had come by then"))
    return sorted(found, key=lambda entry: entry.at)


def render(message: Message) -> list[Text]:
    """The lines for people; times are UTC."""
    colour = STATUS_COLOUR[message.status]
    head = Text.assemble("Message ", (message.message_id, "bold"), "  ", (message.status, f"bold {colour}"))
    facts = {
        "status": STATUS_MEANS[message.status],
        "account": message.account,
        "direction": message.direction,
        "from": message.from_number,
        "to": message.to_number,
        "reference": message.reference_id,
        "first seen": _spelled(message.first_seen_at),
        "last seen": _spelled(message.last_seen_at) if message.last_seen_at != message.first_seen_at else "",
        "orphan": "nobody saw it sent; it was heard of by what came later" if message.orphan else "",
        "backup": ", ".join(message.backup_message_ids),
    }
    lines = [head]
    lines += [Text(f"  {name:<11} {printable(value)}") for name, value in facts.items() if value]
    lines.append(Text())
    for entry in entries(message):
        since = _seconds(message.first_seen_at, entry.at)
        lines.append(
            Text.assemble(
                (f"  {_spelled(entry.at)}  ", "dim"),
                f"{since:>10}  ",
                (f"{entry.what:<12}", "bold"),
                entry.detail,
            )
        )
    return lines


def printable(text: str) -> str:
    """The text with all that a terminal would obey, not show, spelled out: a stranger wrote it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _attempts(attempts: list[Attempt]) -> Iterator[Entry]:
    refused = 0
    for attempt in attempts:
        clock = f"; by the provider's clock {_spelled(attempt.occurred_at)}" if attempt.occurred_at else ""
        if attempt.sent:
            yield Entry(attempt.received_at, "sent", f"handed to the carrier's side{clock}")
        else:
            refused += 1
            yield Entry(attempt.received_at, "refused", f"by the carrier's side, time {refused} of 3{clock}")


def _receipt(receipt: ReceiptFact) -> Entry:
    code = CODES.get(receipt.code)
    said = [f"{code.name} ({CODE_MEANS[code.meaning]})" if code else "a code that nobody lists"]
    said += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in parse_receipt_text(receipt.text)._asdict().items()
        if value
    ]
    if receipt.backup_message_id:
        said.append(f"sent again as {receipt.backup_message_id}")
    return Entry(receipt.received_at, f"receipt {printable(receipt.code)}", printable("; ".join(said)))


def _reply(reply: Reply, message: Message) -> Entry:
    sender = message.from_number if message.direction == "inbound" else message.to_number
    return Entry(
        reply.received_at,
        "reply" if message.direction == "outbound" else "received",
        printable(f"“{reply.text}” from {sender}"),
    )


def _spelled(at: Time) -> str:
    return at.replace("T", " ").removesuffix("Z")


def _seconds(begin: Time, end: Time) -> str:
    """How long after; exact while it is short, and rounded like people say it when it is not."""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    if abs(seconds) < 60:
        return f"{seconds:+.3f} s"
    if abs(seconds) < 2 * 3600:
        return f"{seconds / 60:+.1f} min"
    if abs(seconds) < 2 * 86400:
        return f"{seconds / 3600:+.1f} h"
    return f"{seconds / 86400:+.1f} days"
