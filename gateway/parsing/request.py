"""A request as it came in, which `gateway.parsing.postback` and `gateway.rejected` work on."""

from __future__ import annotations

from base64 import b64encode

from msgspec import Struct

from gateway.postback import Time

#: Every field of the provider, in lower case: names match in any case.
MARKERS = ("smssent", "smsresponse", "deliveryreceipt")
PROVIDER_FIELDS = frozenset(
    (
        *MARKERS,
        *("messageid", "referenceid", "fromphonenumber", "tophonenumber", "senttime"),
        *("matchedmessageid", "responsereceivedate", "message"),
        *("deliveryreceiptmessage", "code", "backupmessageid"),
    )
)
#: Headers that explain a rejection. The body is kept as it came, so its Content-Encoding matters.
KEPT_HEADERS = frozenset((*PROVIDER_FIELDS, "content-type", "content-encoding", "user-agent"))


class RawRequest(Struct, frozen=True, kw_only=True):
    """A request to a known account, or one that is replayed."""

    account: str
    #: The query of the URL, as it came.
    query: str
    #: Those of KEPT_HEADERS, by the names they came with.
    headers: list[tuple[str, str]]
    body: bytes
    client_ip: str
    received_at: Time
    method: str = "POST"

    def body_as_json(self) -> tuple[str, str]:
        """The contract's `body` and `body_base64`: the text of it, or else its bytes in base64."""
        try:
            return self.body.decode(), ""
        except UnicodeDecodeError:
            return "", b64encode(self.body).decode()
