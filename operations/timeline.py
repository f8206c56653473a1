"""A message's timeline: what happened to it, in the order in which we received it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from gateway.postback import Time
from operations.auto_responses import LinkedResponse, explain_reason
from operations.codes import explain_code, explain_error, reason_of
from operations.message_chain import ChainPosition
from streams.facts import Attempt, ReceiptFact, Reply, SubmissionFact
from streams.message import Message, Status
from streams.receipt_codes import CODES, parse_receipt_text

STATUS_MEANINGS: dict[Status, str] = {
    "delivered": "delivered to the phone",
    "failed": "the carrier could not deliver it",
    "in_transit": "the carrier has it; no final receipt yet",
    "sent": "handed to the aggregator; no receipt yet",
    "cancelled": "refused three times; the provider gave up",
    "retrying": "refused by the aggregator; the provider tries three times",
    "withdrawn": "cancelled before it was sent, according to the provider's answer",
    "refused": "the provider did not accept it",
    "submitted": "the provider has queued it; no attempt to send it yet",
    "received": "inbound message, not a reply to one of ours",
    "unknown": "nothing is known about its sending or delivery",
}
STATUS_COLOURS: dict[Status, str] = {
    "delivered": "green",
    "failed": "red",
    "in_transit": "cyan",
    "sent": "cyan",
    "cancelled": "red",
    "retrying": "yellow",
    "withdrawn": "yellow",
    "refused": "red",
    "submitted": "cyan",
    "received": "blue",
    "unknown": "yellow",
}
CODE_MEANINGS = {"delivered": "delivered", "in_transit": "in transit", "failed": "failed"}


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened to a message; `at` is when we received it."""

    at: Time
    label: str
    detail: str


def entries(message: Message, responses: Iterable[LinkedResponse] = ()) -> list[TimelineEntry]:
    """Everything that happened to the message, in order.

    Args:
        responses: automatic ones to the message, and the one that it is; also those of other accounts.
    """
    found = [
        *map(_submission, message.submissions),
        *_attempts(message.attempts),
        *map(_receipt, message.receipts),
        *(_reply(reply, message) for reply in message.replies),
        *(_response(each, message) for each in responses if each.account == message.account),
    ]
    if message.overdue_at:
        found.append(TimelineEntry(message.overdue_at, "overdue", "no receipt up to this time"))
    if message.unsent_at:
        found.append(TimelineEntry(message.unsent_at, "unsent", "no attempt and no receipt up to this time"))
    return sorted(found, key=lambda entry: entry.at)


def render(
    message: Message, responses: Iterable[LinkedResponse] = (), chain: ChainPosition | None = None
) -> list[Text]:
    """The message and its timeline as lines of text; times are UTC.

    Args:
        responses: as in `entries`.
        chain: where the message is in its chain, if it was retried from another number or is such a retry.
    """
    colour = STATUS_COLOURS[message.status]
    head = Text.assemble("Message ", (message.message_id, "bold"), "  ", (message.status, f"bold {colour}"))
    fields = {
        "status": STATUS_MEANINGS[message.status],
        "account": message.account,
        "direction": message.direction,
        "from": message.from_number,
        "to": message.to_number,
        "reference": message.reference_id,
        "text": message.text,
        "scheduled": f"for {readable_time(message.scheduled_for)}" if message.scheduled_for else "",
        "reason": reason_of(message),
        "first seen": readable_time(message.first_seen_at),
        "last seen": ""
        if message.last_seen_at == message.first_seen_at
        else readable_time(message.last_seen_at),
        "orphan": "neither its submission nor an attempt to send it is known" if message.orphan else "",
        "backup": ", ".join(message.backup_message_ids),
        "retry of": (chain and chain.retried_message_id) or "",
        "chain": _chain(chain) if chain else "",
    }
    lines = [head]
    lines += [Text(f"  {name:<11} {printable(value)}") for name, value in fields.items() if value]
    lines.append(Text())
    for entry in entries(message, responses):
        lines.append(
            Text.assemble(
                (f"  {readable_time(entry.at)}  ", "dim"),
                f"{_elapsed(message.first_seen_at, entry.at):>10}  ",
                (f"{entry.label:<12}", "bold"),
                entry.detail,
            )
        )
    return lines


def _chain(position: ChainPosition) -> str:
    chain = position.chain
    meaning = STATUS_MEANINGS[chain.status]
    return f"message {position.number} of {chain.length}; end result {chain.status}: {meaning}"


def printable(text: str) -> str:
    """Escape what a terminal would interpret instead of showing: strangers write these texts."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _submission(submission: SubmissionFact) -> TimelineEntry:
    if submission.cancelled:
        return TimelineEntry(submission.received_at, "withdrawn", "cancelled at the provider")
    if submission.error:
        return TimelineEntry(
            submission.received_at,
            "refused",
            printable(f"by the provider: {explain_error(submission.error)}"),
        )
    return TimelineEntry(
        submission.received_at, "submitted", "queued by the provider" if submission.queued else "not queued"
    )


def _attempts(attempts: list[Attempt]) -> Iterator[TimelineEntry]:
    refused = 0
    for attempt in attempts:
        clock = f"; provider's clock {readable_time(attempt.occurred_at)}" if attempt.occurred_at else ""
        if attempt.sent:
            yield TimelineEntry(attempt.received_at, "sent", f"handed to the aggregator{clock}")
        else:
            refused += 1
            detail = f"by the aggregator, attempt {refused} of 3{clock}"
            yield TimelineEntry(attempt.received_at, "refused", detail)


def _receipt(receipt: ReceiptFact) -> TimelineEntry:
    code = CODES.get(receipt.code)
    details = [f"{code.name} ({CODE_MEANINGS[code.meaning]})" if code else explain_code(receipt.code)]
    details += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in parse_receipt_text(receipt.text)._asdict().items()
        if value
    ]
    if receipt.backup_message_id:
        details.append(f"sent again as {receipt.backup_message_id}")
    label = f"receipt {printable(receipt.code)}"
    return TimelineEntry(receipt.received_at, label, printable("; ".join(details)))


def _reply(reply: Reply, message: Message) -> TimelineEntry:
    sender = message.from_number if message.direction == "inbound" else message.to_number
    return TimelineEntry(
        reply.received_at,
        "reply" if message.direction == "outbound" else "received",
        printable(f"“{reply.text}” from {sender}"),
    )


def _response(response: LinkedResponse, message: Message) -> TimelineEntry:
    if response.outcome == "declined":
        rule = f"rule {response.rule}, " if response.rule else ""
        detail = f"automatic response: {rule}none: {explain_reason(response.reason)}"
        return TimelineEntry(response.decided_at, "no answer", printable(detail))
    head = f"automatic response: rule {response.rule}"
    if response.message_id == message.message_id:
        detail = f"{head}, to message {response.answered_message_id}"
        return TimelineEntry(response.at, "accepted", printable(detail))
    match response.outcome:
        case "accepted":
            end = f" → message {response.message_id or 'without an id'}"
        case "refused":
            end = f", refused by the provider: {explain_error(response.error)}"
        case "unknown":
            end = "; it may have been sent or not"
        case "not_sent":
            end = f", not sent: {explain_reason(response.reason)}"
        case _:
            end = ", being sent"
    return TimelineEntry(response.decided_at, "answered", printable(head + end))


def readable_time(at: Time) -> str:
    """A time for people, in UTC."""
    return at.replace("T", " ").removesuffix("Z")


def _elapsed(start: Time, stop: Time) -> str:
    """The time between, in a unit that keeps the number short."""
    seconds = (datetime.fromisoformat(stop) - datetime.fromisoformat(start)).total_seconds()
    if abs(seconds) < 60:
        return f"{seconds:+.3f} s"
    if abs(seconds) < 2 * 3600:
        return f"{seconds / 60:+.1f} min"
    if abs(seconds) < 2 * 86400:
        return f"{seconds / 3600:+.1f} h"
    return f"{seconds / 86400:+.1f} days"
