"""Postbacks for tests: builders with sensible defaults, and a Hypothesis strategy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from gateway.postback import AnyPostback, Receipt, Response, Sent, Time, format_time

MESSAGE_ID = "9a35e913-ded0-7574-4642-5f60c550c706"
START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(seconds: float) -> Time:
    """Return the time so many seconds after `START`, in the format of the contract."""
    return format_time(START + timedelta(seconds=seconds))


def _common(event_id: str, second: float, others: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "message_id": MESSAGE_ID,
        "account": "acme",
        "reference_id": "",
        "from_number": "",
        "to_number": "",
        "occurred_at": None,
        "received_at": at(second),
        "client_ip": "127.0.0.1",
        "query": "",
        "body": "",
        "extra": {},
    } | others


def sent(event_id: str = "s1", second: float = 0, ok: bool = True, **others: Any) -> Sent:
    return Sent(**_common(event_id, second, others), sent=ok)


def receipt(event_id: str = "r1", second: float = 0, code: str = "003", **others: Any) -> Receipt:
    return Receipt(**({"text": "", "backup_message_id": None} | _common(event_id, second, others)), code=code)


def reply(event_id: str = "a1", second: float = 0, text: str = "Ack", **others: Any) -> Response:
    return Response(**({"reply_id": None, "matched": True} | _common(event_id, second, others)), text=text)


_events = st.integers(0, 7).map(str)
_seconds = st.integers(0, 30)
_values = ("", "7", "42", "74121", "17575449510")


def _content(event: str) -> dict[str, str]:
    n = int(event)
    return {
        "reference_id": _values[n % 5],
        "from_number": _values[(n * 3 + 1) % 5],
        "to_number": _values[(n * 2 + 2) % 5],
    }


#: Postbacks about one message, with few event ids and times, so that duplicates and ties are frequent.
#: The fields are a function of the event id, as the real id is a hash of the fields.
postbacks: st.SearchStrategy[AnyPostback] = st.one_of(
    st.builds(lambda e, s: sent(f"s{e}", s, ok=e in "05", **_content(e)), _events, _seconds),
    st.builds(
        lambda e, s: receipt(
            f"r{e}",
            s,
            code=("000", "003", "004", "005", "024", "091", "777", "003")[int(e)],
            text=f"text {e}",
            backup_message_id=f"00000000-0000-4000-8000-00000000000{e}" if e == "5" else None,
            **_content(e),
        ),
        _events,
        _seconds,
    ),
    st.builds(lambda e, s: reply(f"a{e}", s, matched=e != "3", **_content(e)), _events, _seconds),
)
