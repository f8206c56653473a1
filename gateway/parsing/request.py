"""A request before parsing: the input of `gateway.parsing.postback` and `gateway.rejected`."""

from __future__ import annotations

from msgspec import Struct

from gateway.postback import Time

_SHARED = ("messageid", "referenceid", "fromphonenumber", "tophonenumber")
#: The provider's fields of each type, by its marker (the field that gives the type). In lower case, as names
#: match in any case.
FIELDS_OF = {
    "smssent": frozenset((*_SHARED, "smssent", "senttime")),
    "smsresponse": frozenset((*_SHARED, "smsresponse", "matchedmessageid", "responsereceivedate", "message")),
    "deliveryreceipt": frozenset(
        (*_SHARED, "deliveryreceipt", "deliveryreceiptmessage", "code", "backupmessageid")
    ),
}
PROVIDER_FIELDS = frozenset[str]().union(*FIELDS_OF.values())
#: Headers that may be stored. Content-Encoding is needed to read the body, which is stored as received.
STORED_HEADERS = frozenset((*PROVIDER_FIELDS, "content-type", "content-encoding", "user-agent"))


class RawRequest(Struct, frozen=True, kw_only=True):
    """A request to a known account, received now or replayed."""

    account: str
    #: The query of the URL, as received.
    query: str
    #: Only STORED_HEADERS, with their names as received.
    headers: list[tuple[str, str]]
    body: bytes
    client_ip: str
    received_at: Time
    method: str = "POST"
