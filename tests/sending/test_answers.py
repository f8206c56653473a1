"""What the provider answers to a send, in JSON and in XML."""

from __future__ import annotations

import pytest

from gateway.sms_errors import SMS_ERRORS, SmsError
from sending.answers import UndecodableAnswer, decode_answers

ID = "1627aea5-8e0a-4371-9022-9b504344e724"
JSON = (
    f'{{"Cancelled":false,"MessageID":"{ID}","Queued":true,"ReferenceID":"123","SMSError":0,'
    '"SMSIncomingMessages":null,"Sent":false,"SentDateTime":"\\/Date(-62135578800000-0500)\\/"}'
).encode()
XML = (
    '<SMSResponse xmlns="http://sms2.cdyne.com" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
    f"<Cancelled>false</Cancelled><MessageID>{ID}</MessageID><Queued>true</Queued>"
    "<ReferenceID>123</ReferenceID><SMSError>NoError</SMSError><SMSIncomingMessages i:nil='true'/>"
    "<Sent>false</Sent><SentDateTime>0001-01-01T00:00:00</SentDateTime></SMSResponse>"
).encode()


@pytest.mark.parametrize(
    "body",
    [
        JSON,
        b"[" + JSON + b"]",
        b"\xef\xbb\xbf" + JSON,
        XML,
        b'<?xml version="1.0" encoding="utf-8"?>\n' + XML,
        b'<ArrayOfSMSResponse xmlns="http://sms2.cdyne.com">' + XML + b"</ArrayOfSMSResponse>",
    ],
)
def test_queued_message_has_its_id(body: bytes) -> None:
    (answer,) = decode_answers(body)
    assert (answer.message_id, answer.is_queued, answer.error_name) == (ID, True, "NoError")
    assert (answer.queued, answer.cancelled, answer.sent, answer.reference_id) == (True, False, False, "123")


def test_elements_keep_their_order() -> None:
    second = JSON.replace(b'"123"', b'"124"')
    answers = decode_answers(b"[" + JSON + b"," + second + b"]")
    assert [answer.reference_id for answer in answers] == ["123", "124"]


@pytest.mark.parametrize("error", SMS_ERRORS, ids=lambda error: error.name)
@pytest.mark.parametrize("in_xml", [False, True])
def test_only_no_error_is_queued(error: SmsError, in_xml: bool) -> None:
    in_json = JSON.replace(b'"SMSError":0', b'"SMSError":%d' % error.number)
    body = XML.replace(b"NoError", error.name.encode()) if in_xml else in_json
    (answer,) = decode_answers(body)
    assert answer.listed_error is error
    assert answer.is_queued is (error.name == "NoError")
    assert answer.explanation == f"{error.name}: {error.meaning}. {error.action}"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (JSON.replace(b'"SMSError":0', b'"SMSError":42'), "42"),
        (XML.replace(b"NoError", b"NewError"), "NewError"),
    ],
)
def test_unlisted_error_is_kept_and_not_queued(body: bytes, error: str) -> None:
    (answer,) = decode_answers(body)
    assert (answer.is_queued, answer.listed_error) == (False, None)
    assert f"SMSError {error}: it is not on the provider's list" in answer.explanation


def test_zero_id_is_no_id() -> None:
    (answer,) = decode_answers(JSON.replace(ID.encode(), b"00000000-0000-0000-0000-000000000000"))
    assert answer.message_id is None


UTF_16 = XML.decode().encode("utf-16-le")
BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbb">]>' + XML.replace(b"123", b"&b;")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"[]",
        b"{}",
        b"null",
        b"[1]",
        JSON[:-1],
        JSON.replace(b'"SMSError":0,', b""),
        XML[:-1],
        BOMB,
        UTF_16,
        b"<html><body>Service Unavailable</body></html>",
        b"<html/>",
        XML.replace(b"<SMSError>NoError</SMSError>", b""),
        b"\xff\xfe",
        b"<" * 100_000,
        b"[" * 100_000,
    ],
)
def test_anything_else_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableAnswer):
        decode_answers(body)


def test_explanation_quotes_nothing_of_the_answer() -> None:
    with pytest.raises(UndecodableAnswer) as error:
        decode_answers(b'{"Message": "hush", "SMSError": {"hush": 1}}')
    assert "hush" not in str(error.value)
