"""What follows from the facts of a message: its status, whether it is an orphan, and which marks are valid.

The views of ClickHouse derive the same (`sinks/schema`), and a test compares the two.
"""

from __future__ import annotations

from gateway.postback import Time
from streams.message import Message, Status


def derive(state: Message) -> Message:
    """Set the fields that follow from the facts."""
    if state.receipts:
        if state.overdue_at is not None and state.receipts[0].received_at <= state.overdue_at:
            state.overdue_at = None
        backups = [receipt.backup_message_id for receipt in state.receipts if receipt.backup_message_id]
        if backups or state.backup_message_ids:
            state.backup_message_ids = sorted({*backups})
    if state.unsent_at is not None and not is_unsent(state, state.unsent_at):
        state.unsent_at = None
    state.orphan = state.direction == "outbound" and not state.attempts and state.submitted_at is None
    state.status = _status(state)
    return state


def is_unsent(state: Message, due: Time) -> bool:
    """Whether a message that the provider accepted had neither an attempt nor a receipt up to then."""
    return (
        not state.submission_error
        and state.withdrawn_at is None
        and not (state.attempts and state.attempts[0].received_at <= due)
        and not (state.receipts and state.receipts[0].received_at <= due)
    )


def _status(state: Message) -> Status:
    """Pick the best-founded status, regardless of the order of arrival."""
    if state.delivered_at is not None:
        return "delivered"
    if state.failed_at is not None:
        return "failed"
    if state.carrier_at is not None:
        return "in_transit"
    if state.sent_at is not None:
        return "sent"
    if state.attempts:  # all of them refusals, as `sent_at` is unset; the provider gives up after the third
        return "cancelled" if len(state.attempts) >= 3 else "retrying"
    if state.submitted_at is not None:
        if state.withdrawn_at is not None:
            return "withdrawn"
        return "refused" if state.submission_error else "submitted"
    return "received" if state.direction == "inbound" else "unknown"
