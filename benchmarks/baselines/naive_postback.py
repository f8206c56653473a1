"""Turns a form into a record as one would write it: the contract's fields, key and JSON, without leniency.

It parses fields and dates and encodes with our code, so that only the server and the use of Kafka differ.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from gateway.parsing.values import read_guid, read_number, read_time, time_of
from gateway.postback import TOPIC_OF, AnyPostback, Receipt, Response, Sent, encode, key_of

#: Accounts by token.
ACCOUNTS = {"benchmark-token": "acme"}
#: The same as our gateway's setting.
TOKENS = ",".join(f"{account}={token}" for token, account in ACCOUNTS.items())
KNOWN = {
    *("SMSSent", "SMSResponse", "DeliveryReceipt", "MessageID", "ReferenceID", "FromPhoneNumber"),
    *("ToPhoneNumber", "SentTime", "MatchedMessageID", "ResponseReceiveDate", "Message"),
    *("DeliveryReceiptMessage", "Code", "BackupMessageID"),
}


def record_of(
    form: Mapping[str, str], body: bytes, account: str, query: str, client_ip: str
) -> tuple[str, bytes, bytes]:
    """Return topic, key and value.

    Raises:
        ValueError: the form is not a postback.
    """
    postback = _postback(form, body, account, query, client_ip)
    return TOPIC_OF[type(postback)], key_of(account, postback.message_id), encode(postback)


def _postback(form: Mapping[str, str], body: bytes, account: str, query: str, client_ip: str) -> AnyPostback:
    own_id, matched_id = read_guid(form.get("MessageID", "")), read_guid(form.get("MatchedMessageID", ""))
    message_id = matched_id or own_id
    if message_id is None:
        raise ValueError("MessageID must be a GUID")
    shared: dict[str, Any] = {
        "event_id": blake2b(encode([account, sorted(form.items())]), digest_size=16).hexdigest(),
        "message_id": message_id,
        "account": account,
        "reference_id": form.get("ReferenceID", ""),
        "from_number": read_number(form.get("FromPhoneNumber", "")),
        "to_number": read_number(form.get("ToPhoneNumber", "")),
        "received_at": time_of(time.time()),
        "client_ip": client_ip,
        "query": query,
        "body": body.decode(),
        "extra": {name: value for name, value in form.items() if name not in KNOWN},
    }
    if "SMSSent" in form:
        occurred_at = read_time(form.get("SentTime", ""))
        return Sent(**shared, occurred_at=occurred_at, sent=form["SMSSent"] != "0")
    if "SMSResponse" in form:
        return Response(
            **shared,
            occurred_at=read_time(form.get("ResponseReceiveDate", "")),
            reply_id=own_id,
            matched=matched_id is not None,
            text=form.get("Message", ""),
        )
    if "DeliveryReceipt" in form:
        return Receipt(
            **shared,
            occurred_at=None,
            code=form.get("Code", ""),
            text=form.get("DeliveryReceiptMessage", ""),
            backup_message_id=read_guid(form.get("BackupMessageID", "")),
        )
    raise ValueError("SMSSent, SMSResponse or DeliveryReceipt is missing")
