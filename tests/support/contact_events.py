"""Events of contacts for tests: a builder with sensible defaults, and Hypothesis strategies."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from streams.contact_event import ContactEvent, Signal
from tests.support.postbacks import at

SIGNALS: tuple[Signal, ...] = ("opted_in", "yes", "suspected", "opted_out")
OWN_NUMBERS = ("", "74121", "7575449510")


def contact_event(
    event_id: str = "e1", second: float = 0, signal: Signal = "opted_out", **others: Any
) -> ContactEvent:
    fields: dict[str, Any] = {
        "account": "acme",
        "number": "7575550100",
        "own_number": "74121",
        "words": "STOP",
        "source": "response",
        "occurred_at": at(second),
        "received_at": at(second),
    } | others
    return ContactEvent(event_id=event_id, signal=signal, **fields)


def _built(event: int, second: int, signal: Signal, parser: int) -> ContactEvent:
    """An event whose content is a function of its id and of the parser; a repetition adds the second.

    Of two workers with different words, each adds its own signal.
    """
    return contact_event(
        f"e{event}",
        second,
        signal,
        own_number=OWN_NUMBERS[(event + (parser == 1)) % 3],
        words=("STOP", "stpo", "yes", "START")[event % 4] + "!" * (parser == 2),
        occurred_at=None if event % 5 == 0 or parser == 1 else at(event % 6),
        message_id="9a35e913-ded0-7574-4642-5f60c550c706" if event % 2 else None,
    )


def contact_events(ids: int = 12, seconds: int = 30) -> st.SearchStrategy[ContactEvent]:
    """Events of one contact, of few ids and times: repetitions, ties and other signals are frequent."""
    return st.builds(
        _built,
        st.integers(0, ids - 1),
        st.integers(0, seconds),
        st.sampled_from(SIGNALS),
        st.sampled_from((0, 0, 0, 1, 2)),
    )
