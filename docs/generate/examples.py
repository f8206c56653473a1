"""Example records of each topic, made by the pipeline's code from samples in the provider's documents."""

from __future__ import annotations

from gateway.parsing.postback import parse
from gateway.parsing.request import RawRequest
from gateway.parsing.submission import parse_answers
from gateway.postback import RECEIPT, RESPONSE, SENT, AnyPostback, Response, encode, key_of
from gateway.rejected import REJECTED, reject_request
from gateway.submission import SUBMISSIONS, Submission, submission_key
from runtime.phone_number import canonical
from streams.auto_response import (
    AUTO_RESPONSE_VERSION,
    AUTO_RESPONSES,
    AutoResponse,
    auto_response_key,
    encode_auto_response,
)
from streams.contact import CONTACTS, encode_contact, merge_contact
from streams.contact_event import (
    CONTACT_EVENTS,
    ContactEvent,
    contact_event_of_response,
    contact_key,
    encode_contact_event,
)
from streams.merge import merge, state_of
from streams.message import MESSAGES, encode_message

BODIES = {
    SENT: "SMSSent=1&MessageID=9a35e913-ded0-7574-4642-5f60c550c706&ReferenceID=12345"
    "&FromPhoneNumber=17575449510&ToPhoneNumber=17575449511&SentTime=5%2f8%2f2010+2%3a42%3a36+AM",
    RESPONSE: "SMSResponse=1&MessageID=11111111-2222-1111-2222-000000000004"
    "&MatchedMessageID=9a35e913-ded0-7574-4642-5f60c550c706&ReferenceID="
    "&FromPhoneNumber=17575449511&ToPhoneNumber=17575449510"
    "&ResponseReceiveDate=5%2f8%2f2010+2%3a42%3a36+AM&Message=Test",
    RECEIPT: "DeliveryReceipt=1&MessageID=9a35e913-ded0-7574-4642-5f60c550c706&ReferenceID="
    "&FromPhoneNumber=17575449510&ToPhoneNumber=17575449511&DeliveryReceiptMessage=sm: msg: "
    "id:18579674100201040 sub:001 dlvrd:001 submit date:1209281334 done date:1209281334 "
    "stat:DELIVERED TO CARRIER err:003 text:&Code=003",
}
SUBMISSION = (
    '{"request": {"SMSRequests": [{"AssignedDID": "17575449510", "Message": "Your table is ready", '
    '"PhoneNumbers": ["17575449511"], "ScheduledDateTime": "2026-11-23T05:00:00Z"}]}, '
    '"response": [{"Cancelled":false,"MessageID":"9a35e913-ded0-7574-4642-5f60c550c706","Queued":true,'
    '"ReferenceID":"12345","SMSError":0,"SMSIncomingMessages":null,"Sent":false,'
    '"SentDateTime":"\\/Date(-62135578800000-0500)\\/"}]}'
)
REJECTION_ID = "5f2b6c0e9d3a4a0f8a43c2c0f0b7d1e6"


def postbacks() -> dict[str, AnyPostback]:
    """A postback of each type by topic, all about one message."""
    return {
        topic: parse(_request(body, f"2026-11-23T04:39:4{second}.123Z"))
        for second, (topic, body) in enumerate(BODIES.items(), 1)
    }


def submission() -> Submission:
    """The submission of the message that the postbacks are about."""
    (parsed,) = parse_answers(_request(SUBMISSION, "2026-11-23T04:39:40.123Z")).submissions
    return parsed


def contact_event() -> ContactEvent:
    """The opt-out in a reply like that of the postbacks."""
    reply = parse(_request(BODIES[RESPONSE].replace("Test", "STOP"), "2026-11-23T04:39:42.123Z"))
    assert isinstance(reply, Response)
    event = contact_event_of_response(reply, "opted_out", reply.text)
    assert event
    return event


def auto_response() -> AutoResponse:
    """The outcome of an answer to the reply of the postbacks."""
    reply = postbacks()[RESPONSE]
    assert isinstance(reply, Response)
    return AutoResponse(
        version=AUTO_RESPONSE_VERSION,
        event_id=reply.event_id,
        account=reply.account,
        number=canonical(reply.from_number),
        own_number=canonical(reply.to_number),
        outcome="accepted",
        rule="thanks",
        day="2026-11-22",
        attempt="0b8c7f4f2a6e4d6c9d4b6f1f5a3f7c2e",
        text="Thank you!",
        message_id="2f1d0c5e-7c52-4d8e-9a53-3b1d9a9f0a11",
        answered_message_id=reply.message_id,
        reply_id=reply.reply_id,
        occurred_at=reply.occurred_at,
        received_at=reply.received_at,
        at="2026-11-23T04:39:43.123Z",
    )


def records() -> dict[str, tuple[bytes, bytes]]:
    """The key and value of a record of each topic."""
    message = state_of(submission())
    for postback in postbacks().values():
        message = merge(message, postback)
    key = key_of(message.account, message.message_id)
    rejected = reject_request(_request("hello=world", "2026-11-23T04:39:44.123Z"), "no_type", REJECTION_ID)
    opt_out = contact_event()
    contact = contact_key(opt_out.account, opt_out.number)
    return {
        **{topic: (key, encode(postback)) for topic, postback in postbacks().items()},
        SUBMISSIONS: (submission_key(submission()), encode(submission())),
        REJECTED: (REJECTION_ID.encode(), encode(rejected)),
        MESSAGES: (key, encode_message(message)),
        CONTACT_EVENTS: (contact, encode_contact_event(opt_out)),
        CONTACTS: (contact, encode_contact(merge_contact(None, opt_out))),
        AUTO_RESPONSES: (auto_response_key(auto_response()), encode_auto_response(auto_response())),
    }


def _request(body: str, received_at: str) -> RawRequest:
    return RawRequest(
        account="acme",
        query="campaign=42",
        headers=[("User-Agent", "CDYNE SMSv2")],
        body=body.encode(),
        client_ip="203.0.113.7",
        received_at=received_at,
    )
