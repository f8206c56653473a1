"""The provider's answers to a send, as its documentation prints them, and a Hypothesis strategy."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from hypothesis import strategies as st

MESSAGE_ID = "1627aea5-8e0a-4371-9022-9b504344e724"
ZERO_ID = "00000000-0000-0000-0000-000000000000"

JSON_ANSWER = (
    b'{\n\t"Cancelled":false,\n\t"MessageID":"1627aea5-8e0a-4371-9022-9b504344e724",\n\t"Queued":true,\n'
    b'\t"ReferenceID":"String content",\n\t"SMSError":0,\n\t"SMSIncomingMessages":null,\n\t"Sent":false,\n'
    b'\t"SentDateTime":"\\/Date(928164000000-0400)\\/"\n}'
)
XML_ANSWER = (
    b'<SMSResponse xmlns="http://sms2.cdyne.com" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">\n'
    b"  <Cancelled>false</Cancelled>\n"
    b"  <MessageID>1627aea5-8e0a-4371-9022-9b504344e724</MessageID>\n"
    b"  <Queued>true</Queued>\n"
    b"  <ReferenceID>String content</ReferenceID>\n"
    b"  <SMSError>NoError</SMSError>\n"
    b'  <SMSIncomingMessages i:nil="true" />\n'
    b"  <Sent>false</Sent>\n"
    b"  <SentDateTime>1999-05-31T11:20:00</SentDateTime>\n"
    b"</SMSResponse>"
)


def answer(**fields: Any) -> dict[str, Any]:
    """Build an answer as the provider gives it in JSON: the message is queued, unless `fields` differ."""
    return {
        "Cancelled": False,
        "MessageID": MESSAGE_ID,
        "Queued": True,
        "ReferenceID": "",
        "SMSError": 0,
        "SMSIncomingMessages": None,
        "Sent": False,
        "SentDateTime": "/Date(-62135578800000-0500)/",
    } | fields


def refusal(error: int = 1, **fields: Any) -> dict[str, Any]:
    """Build a refusal without a MessageID."""
    return answer(**({"MessageID": ZERO_ID, "Queued": False, "SMSError": error} | fields))


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_xml(value: dict[str, Any], name: str = "SMSResponse") -> bytes:
    """Encode the text, number and boolean fields of an answer."""

    def text(field: Any) -> str:
        return str(field).lower() if isinstance(field, bool) else escape(str(field))

    fields = "".join(f"<{key}>{text(item)}</{key}>" for key, item in value.items() if item is not None)
    return f"<{name}>{fields}</{name}>".encode()


_texts = st.text(st.characters(codec="utf-8"), max_size=20)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
#: Answers with arbitrary references and unknown fields, queued or refused.
answers = st.builds(
    lambda reference, error, extra: (
        {f"x{n}": value for n, value in enumerate(extra)}
        | answer(ReferenceID=reference, SMSError=error, Queued=error == 0)
    ),
    _texts,
    st.integers(0, 12),
    st.lists(_values, max_size=3),
)
