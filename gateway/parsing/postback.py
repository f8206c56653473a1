"""Parses a request into a postback, or says why it is not one. Pure: no clock, no network, no randomness.

The provider does not document where it puts its fields, so there are three sources: the form in the body, the
URL's query, and headers. A field is taken from the first source where it is not empty. The type is given by a
marker, a field of that name. Unknown fields of the body belong to the postback; those of the query only if
the marker is there, as it may be the customer's own query.
"""

from __future__ import annotations

from hashlib import blake2b
from operator import itemgetter
from typing import Any

from gateway.parsing.form import Pairs, UnreadableForm, read_form
from gateway.parsing.request import FIELDS_OF, PROVIDER_FIELDS, RawRequest
from gateway.parsing.values import read_guid, read_number, read_time
from gateway.postback import AnyPostback, Receipt, Response, Sent, encode, encode_body
from gateway.rejected import NotAPostback

_by_name = itemgetter(0)


def parse(request: RawRequest) -> AnyPostback:
    """Parse a request.

    Raises:
        NotAPostback: no type or several, no usable id, or an unreadable body.
    """
    try:
        body_pairs, query_pairs = read_form(request.body), read_form(request.query.encode())
    except UnreadableForm as error:
        raise NotAPostback("undecodable", f"The multipart form is damaged: {error}") from None
    headers = [(name, value) for name, value in request.headers if name.lower() in PROVIDER_FIELDS and value]

    body_lower, query_lower = _lower(body_pairs), _lower(query_pairs)
    values = dict(reversed([*body_lower, *query_lower, *_lower(headers)]))
    marker = _marker(values)
    known = FIELDS_OF[marker]
    pairs, pairs_lower = body_pairs, body_lower
    if query_pairs and marker in dict(query_lower) and marker not in dict(body_lower):
        pairs, pairs_lower = body_pairs + query_pairs, body_lower + query_lower

    fields = {name: value for name, value in values.items() if name in known}
    body, body_base64 = encode_body(request.body)
    get = fields.get
    shared: dict[str, Any] = {
        "event_id": _event_id(request.account, pairs_lower, fields),
        "account": request.account,
        "reference_id": get("referenceid", ""),
        "from_number": read_number(get("fromphonenumber", "")),
        "to_number": read_number(get("tophonenumber", "")),
        "received_at": request.received_at,
        "client_ip": request.client_ip,
        "query": request.query,
        "body": body,
        "body_base64": body_base64,
        "extra": {name: value for name, value in reversed(pairs) if name.lower() not in known}
        if len(fields) < len(values)
        else {},
        "headers": _used_headers(headers, fields, dict(body_lower + query_lower)) if headers else {},
    }
    own_id = read_guid(get("messageid", ""))

    if marker == "smsresponse":
        matched_id = read_guid(get("matchedmessageid", ""))
        return Response(
            **shared,
            message_id=matched_id or _require_id(own_id),
            occurred_at=read_time(get("responsereceivedate", "")),
            reply_id=own_id,
            matched=matched_id is not None,
            text=get("message", ""),
            marker=fields["smsresponse"].strip(),
        )
    if marker == "smssent":
        return Sent(
            **shared,
            message_id=_require_id(own_id),
            occurred_at=read_time(get("senttime", "")),
            sent=fields["smssent"].strip().lower() not in ("0", "false"),
        )
    return Receipt(
        **shared,
        message_id=_require_id(own_id),
        occurred_at=None,
        code=get("code", "").strip(),
        text=get("deliveryreceiptmessage", ""),
        backup_message_id=read_guid(get("backupmessageid", "")),
    )


def _lower(pairs: Pairs) -> Pairs:
    return [(name.lower(), value) for name, value in pairs]


def _used_headers(headers: Pairs, fields: dict[str, str], earlier: dict[str, str]) -> dict[str, str]:
    """The headers that provided a field, as the earlier sources do not have it."""
    return {
        name: value
        for name, value in reversed(headers)
        if fields.get(name.lower()) == value and name.lower() not in earlier
    }


def _marker(values: dict[str, str]) -> str:
    present = [marker for marker in FIELDS_OF if values.get(marker, "").strip()]
    if not present:
        raise NotAPostback("no_type", "There is no SMSSent, SMSResponse or DeliveryReceipt in it")
    if len(present) > 1:
        raise NotAPostback(
            "ambiguous_type", "Only one of SMSSent, SMSResponse and DeliveryReceipt can be in it"
        )
    return present[0]


def _require_id(message_id: str | None) -> str:
    if message_id is None:
        raise NotAPostback("no_message_id", "MessageID must be a GUID other than zero")
    return message_id


def _event_id(account: str, pairs: Pairs, fields: dict[str, str]) -> str:
    """Hash the account and everything that the provider sent, as decoded text before it is parsed.

    Neither the order of the names nor the source of a field matters; the order of values of one name does.
    """
    names = dict(pairs)
    hashed = pairs + [(name, value) for name, value in fields.items() if name not in names]
    hashed.sort(key=_by_name)
    return blake2b(encode([account, hashed]), digest_size=16).hexdigest()
