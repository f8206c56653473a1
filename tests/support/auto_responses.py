"""Rules and records of automatic responses for tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gateway.postback import Response
from streams.auto_response import AUTO_RESPONSE_VERSION, AutoResponse, Outcome
from streams.respond.rules import Rules
from streams.respond.rules_file import parse_rules
from tests.support.postbacks import MESSAGE_ID, at, reply

HANDSET, OWN_NUMBER = "7575550100", "74121"
PARTITIONS = 8
OUTCOMES: tuple[Outcome, ...] = ("declined", "intent", "unknown", "not_sent", "refused", "accepted")
NEW_ID = "11111111-2222-1111-2222-000000000004"


def rules_of(*tables: str, partitions: int = PARTITIONS) -> Rules:
    """Rules of the account acme, each from the lines of its table."""
    head = f'[own_numbers]\nacme = ["{OWN_NUMBER}", "7575449510"]\n'
    return parse_rules(
        head + "".join(f'[[rule]]\naccount = "acme"\n{table}\n' for table in tables), partitions
    )


def rule_lines(name: str = "hours", text: str = "From 8 to 5", **values: str) -> str:
    """The lines of a rule's table; values are TOML."""
    lines = {"name": f'"{name}"', "text": f'"{text}"'} | (values or {"keywords": '["HOURS"]'})
    return "\n".join(f"{key} = {value}" for key, value in lines.items())


def response(text: str = "HOURS", event_id: str = "a1", second: float = 0, **others: Any) -> Response:
    """A reply to our short code, received and sent at that second."""
    fields = {"from_number": f"1{HANDSET}", "to_number": OWN_NUMBER, "occurred_at": at(second)} | others
    return reply(event_id, second, text, **fields)


def auto_response(
    event_id: str = "a1", second: float = 0, outcome: Outcome = "intent", **others: Any
) -> AutoResponse:
    fields: dict[str, Any] = {
        "account": "acme",
        "number": HANDSET,
        "own_number": OWN_NUMBER,
        "rule": "hours",
        "day": "2026-11-23",
        "attempt": "x1",
        "text": "From 8 to 5",
        "answered_message_id": MESSAGE_ID,
        "occurred_at": at(0),
        "received_at": at(0),
        "at": at(second),
    } | others
    return AutoResponse(version=AUTO_RESPONSE_VERSION, event_id=event_id, outcome=outcome, **fields)


def _built(event: int, second: int, outcome: Outcome, attempt: int, variant: int) -> AutoResponse:
    """A record, of which some fields depend on the variant."""
    declined = outcome == "declined"
    return auto_response(
        f"a{event}",
        second,
        outcome,
        number=("7575550100", "4045550199")[event % 2],
        attempt="" if declined else f"x{attempt}",
        reason=("period", "no_rule", "dry_run")[variant] if declined else "",
        rule=("hours", "", "hours")[variant] if declined else "hours",
        message_id=NEW_ID if outcome == "accepted" else None,
        error=("STOPfromPhoneNumber", "é'\"\\\n\U0001f600", "")[variant] if outcome == "refused" else "",
        detail=("", "no answer", "é'\"\\\n\U0001f600")[variant],
        reply_id=(None, MESSAGE_ID, NEW_ID)[variant],
        occurred_at=None if variant == 2 else at(0),
    )


def auto_responses(events: int = 4) -> st.SearchStrategy[AutoResponse]:
    """Records of few events, attempts and times: ties and repetitions are frequent."""
    return st.builds(
        _built,
        st.integers(0, events - 1),
        st.integers(0, 3),
        st.sampled_from(OUTCOMES),
        st.integers(0, 2),
        st.integers(0, 2),
    )
