"""Hypothesis strategies: records that other producers may write to our topics."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.postbacks import MESSAGE_ID

KEY = f"acme/{MESSAGE_ID}".encode()
#: Timestamps of Kafka's records, any 64-bit integer, in milliseconds.
timestamps = st.integers(-(2**63), 2**63 - 1)
#: The store's own key is among them, and those of a message.
keys = st.none() | st.binary(max_size=60) | st.sampled_from([KEY, b"\x00offset", b"\xff" * 5000, b"acme/"])
_fields = st.sampled_from(
    [
        *(b"event_id", b"message_id", b"account", b"received_at", b"occurred_at", b"extra", b"reply_id"),
        *(b"version", b"reference_rank", b"last_seen_at", b"sent_at", b"attempts", b"receipts", b"x"),
    ]
)
_junk = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"1e400",
            b"-" + b"9" * 5000,
            b"null",
            b'"\xff"',
            b'"\\ud800"',
            b'"0001-01-01T00:00:00.000Z"',
            b'"9999-12-31T23:59:59.999Z"',
            b'"2026-W48-1T04:39:41.123Z"',
            b'"1970-01-01T00:00:00.000Z"',
            b'"' + b"x" * 5000 + b'"',
            b'{"\xff":"\xff"}',
        ]
    ),
    st.integers(1, 3000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(1, 3000).map(lambda depth: b'{"x":' * depth + b"1" + b"}" * depth),
)


@st.composite
def _mutated(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A valid value with one field replaced or added, cut, or with bytes overwritten."""
    value = draw(st.sampled_from(valid))
    match draw(st.sampled_from(["field", "cut", "overwritten"])):
        case "field":  # msgspec takes the last of several fields of a name
            return value[:-1] + b',"' + draw(_fields) + b'":' + draw(_junk) + b"}"
        case "cut":
            return value[: draw(st.integers(0, len(value) - 1))]
        case _:
            at = draw(st.integers(0, len(value) - 1))
            new = draw(st.binary(min_size=1, max_size=4))
            return value[:at] + new + value[at + len(new) :]


def values(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Values of any kind, most of them similar to one of these."""
    return st.one_of(st.binary(max_size=100), _junk, _mutated(list(valid)), _mutated(list(valid)))
