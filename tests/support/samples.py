"""The example requests of the provider's documentation, byte by byte, and numbered ones."""

from __future__ import annotations

from uuid import UUID

from gateway.parsing.request import RawRequest

SENT = (
    b"SMSSent=1&MessageID=9a35e913-ded0-7574-4642-5f60c550c706&ReferenceID=12345"
    b"&FromPhoneNumber=17575449510&ToPhoneNumber=17575449511&SentTime=5%2f8%2f2010+2%3a42%3a36+AM"
)
RESPONSE = (
    b"SMSResponse=1&MessageID=9a35e913-ded0-7574-4642-5f60c550c706"
    b"&MatchedMessageID=11111111-2222-1111-2222-000000000004&ReferenceID="
    b"&FromPhoneNumber=17575449510&ToPhoneNumber=17575449511"
    b"&ResponseReceiveDate=5%2f8%2f2010+2%3a42%3a36+AM&Message=Test"
)
RECEIPT = (
    b"DeliveryReceipt=1&MessageID=f880e00b-3a14-484c-80e7-ca6aa29a2f7a&ReferenceID="
    b"&FromPhoneNumber=74121&ToPhoneNumber=17572373369&DeliveryReceiptMessage=sm: msg: "
    b"id:18579674100201040 sub:001 dlvrd:001 submit date:1209281334 done date:1209281334 "
    b"stat:DELIVERED TO CARRIER err:003 text:&Code=003"
)
RECEIVED_AT = "2026-11-23T04:39:41.123Z"


def head(body: bytes, path: str = "/postback", host: str = "example.com") -> bytes:
    """Build the request head as the provider sends it."""
    return (
        f"POST {path} HTTP/1.1\r\n"
        "User-Agent: CDYNE SMSv2\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Host: {host}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n"
        "Connection: Keep-Alive\r\n"
        "\r\n"
    ).encode()


def raw_request(
    body: bytes = b"",
    query: str = "",
    headers: dict[str, str] | None = None,
    account: str = "acme",
    client_ip: str = "203.0.113.7",
    received_at: str = RECEIVED_AT,
) -> RawRequest:
    """Build a request as the gateway receives it."""
    return RawRequest(
        account=account,
        query=query,
        headers=list((headers or {}).items()),
        body=body,
        client_ip=client_ip,
        received_at=received_at,
    )


def numbered_id(number: int) -> str:
    """Return the MessageID of `numbered_sent`."""
    return str(UUID(int=0xABC << 64 | number))


def numbered_sent(number: int) -> str:
    """Return the form of a *sent* postback about message `number`."""
    return f"SMSSent=1&MessageID={numbered_id(number)}&FromPhoneNumber=74121&ToPhoneNumber=1757544{number:04}"
