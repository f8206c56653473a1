"""Takes what arrived for a postback, or says why it is none. Pure: no clock, no network, no chance.

The provider's documents leave open where its fields are, so there are three places: the form in the body, the
URL's query, and headers of those names. A field is taken from the first place where it is not empty. The type
is decided by the presence of its marker; the place where that is carries the postback, so what else is said
there belongs to it. What single values mean is left to `gateway.parsing.fields` and `gateway.parsing.values`.
"""

from __future__ import annotations

from hashlib import blake2b
from operator import itemgetter
from typing import Any

from gateway.parsing.fields import read_guid, read_number
from gateway.parsing.form import Pairs, UnreadableForm, read_form
from gateway.parsing.request import MARKERS, PROVIDER_FIELDS, RawRequest
from gateway.parsing.values import read_time
from gateway.postback import AnyPostback, Receipt, Response, Sent, encode
from gateway.rejected import NotAPostback

_SHARED = ("messageid", "referenceid", "fromphonenumber", "tophonenumber")
#: The fields of each type, by its marker. Any other field of a postback is one that nobody knows.
FIELDS_OF = {
    "smssent": frozenset((*_SHARED, "smssent", "senttime")),
    "smsresponse": frozenset((*_SHARED, "smsresponse", "matchedmessageid", "responsereceivedate", "message")),
    "deliveryreceipt": frozenset(
        (*_SHARED, "deliveryreceipt", "deliveryreceiptmessage", "code", "backupmessageid")
    ),
}
_by_name = itemgetter(0)


def parse(arrival: RawRequest) -> AnyPostback:
    """The postback that arrived.

    Raises:
        NotAPostback: it has no type or more than one, no usable id, or a body that cannot be read.
    """
    try:
        said, query = read_form(arrival.body), read_form(arrival.query.encode())
    except UnreadableForm as error:
        raise NotAPostback("undecodable", f"The multipart form is damaged: {error}") from None
    headers = [(name, value) for name, value in arrival.headers if name.lower() in PROVIDER_FIELDS and value]

    in_body, in_query = _lower(said), _lower(query)
    values = dict(reversed([*in_body, *in_query, *_lower(headers)]))
    marker = _marker(values)
    fields = FIELDS_OF[marker]
    in_said = in_body
    if query and marker in dict(in_query) and marker not in dict(in_body):
        said, in_said = said + query, in_body + in_query

    texts = {name: value for name, value in values.items() if name in fields}
    body_text, body_base64 = arrival.body_as_json()
    get = texts.get
    shared: dict[str, Any] = {
        "event_id": _event_id(arrival.account, in_said, texts),
        "account": arrival.account,
        "reference_id": get("referenceid", ""),
        "from_number": read_number(get("fromphonenumber", "")),
        "to_number": read_number(get("tophonenumber", "")),
        "received_at": arrival.received_at,
        "client_ip": arrival.client_ip,
        "query": arrival.query,
        "body": body_text,
        "body_base64": body_base64,
        "extra": {name: value for name, value in reversed(said) if name.lower() not in fields}
        if len(texts) < len(values)
        else {},
        "headers": _used(headers, texts, dict(in_body + in_query)) if headers else {},
    }
    own_id = read_guid(get("messageid", ""))

    if marker == "smsresponse":
        matched_id = read_guid(get("matchedmessageid", ""))
        return Response(
            **shared,
            message_id=matched_id or _usable(own_id),
            occurred_at=read_time(get("responsereceivedate", "")),
            reply_id=own_id,
            matched=matched_id is not None,
            text=get("message", ""),
        )
    if marker == "smssent":
        return Sent(
            **shared,
            message_id=_usable(own_id),
            occurred_at=read_time(get("senttime", "")),
            sent=texts["smssent"].strip().lower() not in ("0", "false"),
        )
    return Receipt(
        **shared,
        message_id=_usable(own_id),
        occurred_at=None,
        code=get("code", "").strip(),
        text=get("deliveryreceiptmessage", ""),
        backup_message_id=read_guid(get("backupmessageid", "")),
    )


def _lower(pairs: Pairs) -> Pairs:
    return [(name.lower(), value) for name, value in pairs]


def _used(headers: Pairs, texts: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """The headers that a field was taken from, as no place before them has it."""
    return {
        name: value
        for name, value in reversed(headers)
        if texts.get(name.lower()) == value and name.lower() not in before
    }


def _marker(values: dict[str, str]) -> str:
    present = [marker for marker in MARKERS if values.get(marker, "").strip()]
    if not present:
        raise NotAPostback("no_type", "There is no SMSSent, SMSResponse or DeliveryReceipt in it")
    if len(present) > 1:
        raise NotAPostback(
            "ambiguous_type", "Only one of SMSSent, SMSResponse and DeliveryReceipt can be in it"
        )
    return present[0]


def _usable(message_id: str | None) -> str:
    if message_id is None:
        raise NotAPostback("no_message_id", "MessageID must be a GUID other than zero")
    return message_id


def _event_id(account: str, said: Pairs, texts: dict[str, str]) -> str:
    """A hash of the account and all that the provider said, before any of it was interpreted.

    The order of fields and the place of a field do not count; the order of values under one name does.
    """
    there = dict(said)
    facts = said + [(name, value) for name, value in texts.items() if name not in there]
    facts.sort(key=_by_name)
    return blake2b(encode([account, facts]), digest_size=16).hexdigest()
