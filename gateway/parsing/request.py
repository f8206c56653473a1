"""A request before parsing: the input of `gateway.parsing.postback` and `gateway.rejected`."""

from __future__ import annotations

from msgspec import Struct

from gateway.postback import Time

#: All fields of the provider, in lower case, as names match in any case. A marker gives the postback's type.
MARKERS = ("smssent", "smsresponse", "deliveryreceipt")
PROVIDER_FIELDS = frozenset(
    (
        *MARKERS,
        *("messageid", "referenceid", "fromphonenumber", "tophonenumber", "senttime"),
        *("matchedmessageid", "responsereceivedate", "message"),
        *("deliveryreceiptmessage", "code", "backupmessageid"),
    )
)
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
