"""Parsing of the provider's answers to a send: JSON and XML, arrays, requests beside them, event ids."""

from __future__ import annotations

import json
import random
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.parsing.request import RawRequest
from gateway.parsing.submission import MAX_ANSWERS, ParsedAnswers, parse_answer, parse_answers
from gateway.postback import encode
from gateway.rejected import NotASubmission
from gateway.submission import MAX_TEXT, Submission, decode_submission, submission_key
from tests.support.answers import (
    JSON_ANSWER,
    MESSAGE_ID,
    XML_ANSWER,
    ZERO_ID,
    answer,
    answers,
    as_json,
    as_xml,
    refusal,
)
from tests.support.samples import RECEIVED_AT, raw_request


def parse(body: bytes | Any, **others: str) -> ParsedAnswers:
    raw = body if isinstance(body, bytes) else as_json(body)
    return parse_answers(raw_request(raw, **others))  # type: ignore[arg-type]


def single(body: bytes | Any, **others: str) -> Submission:
    parsed = parse(body, **others)
    assert not parsed.rejected
    (submission,) = parsed.submissions
    return submission


def sentence(body: bytes | Any) -> str:
    """The reason and sentence of the only rejection in a body, or of the body itself."""
    try:
        parsed = parse(body)
    except NotASubmission as error:
        return f"{error.reason}: {error}"
    assert not parsed.submissions
    (rejected,) = parsed.rejected
    return f"{rejected.error.reason}: {rejected.error}"


# -- examples of the provider's documentation


def test_documented_json_answer() -> None:
    assert single(JSON_ANSWER, query="campaign=42") == Submission(
        event_id=single(JSON_ANSWER).event_id,
        message_id=MESSAGE_ID,
        account="acme",
        reference_id="String content",
        from_number="",
        to_number="",
        queued=True,
        error=0,
        error_name="NoError",
        cancelled=False,
        sent=False,
        scheduled_for=None,
        text="",
        occurred_at="1999-05-31T15:20:00.000Z",
        received_at=RECEIVED_AT,
        client_ip="203.0.113.7",
        query="campaign=42",
        body=JSON_ANSWER.decode(),
        extra={},
    )


def test_documented_xml_answer() -> None:
    submission = single(XML_ANSWER)
    assert (submission.message_id, submission.reference_id) == (MESSAGE_ID, "String content")
    assert (submission.queued, submission.error, submission.error_name) == (True, 0, "NoError")
    assert submission.occurred_at == "1999-05-31T11:20:00.000Z"
    assert (submission.body, submission.extra) == (XML_ANSWER.decode(), {})


@given(answers)
def test_json_and_xml_read_alike(given_answer: dict[str, Any]) -> None:
    fields = {
        name: value
        for name, value in given_answer.items()
        if not name.startswith("x") and name != "ReferenceID"
    }
    one, other = single(fields), single(as_xml(fields))
    for name in ("message_id", "queued", "error", "error_name", "cancelled", "sent", "occurred_at"):
        assert getattr(one, name) == getattr(other, name)


def test_encoded_submission_round_trips() -> None:
    submission = single(answer(Odd={"a": [1, None]}))
    assert decode_submission(encode(submission)) == submission


# -- values


@pytest.mark.parametrize("message_id", [None, "", ZERO_ID, ZERO_ID[:-1], "42"])
def test_answer_without_a_usable_id_is_a_submission(message_id: str | None) -> None:
    submission = single(refusal(2, MessageID=message_id, ReferenceID="order 7"))
    assert (submission.message_id, submission.error, submission.reference_id) == (None, 2, "order 7")
    assert submission_key(submission) == f"acme/{submission.event_id}".encode()


def test_key_is_that_of_the_postbacks() -> None:
    assert submission_key(single(answer(MessageID=MESSAGE_ID.upper()))) == f"acme/{MESSAGE_ID}".encode()


@pytest.mark.parametrize(
    ("value", "error"),
    [("STOPfromPhoneNumber", (1, "STOPfromPhoneNumber")), ("77", (77, "")), (77, (77, ""))],
)
def test_error_is_a_number_or_a_name(value: Any, error: tuple[int, str]) -> None:
    submission = single(answer(SMSError=value))
    assert (submission.error, submission.error_name) == error


def test_missing_flags_follow_from_the_error() -> None:
    for error, queued in ((0, True), (8, False)):
        submission = single({"SMSError": error})
        assert (submission.queued, submission.cancelled, submission.sent) == (queued, False, False)


def test_unknown_fields_are_extra() -> None:
    assert single(answer(Odd=1, Nested={"B": ["x"]}, Empty="", Null=None)).extra == {
        "odd": "1",
        "nested": '{"b":[["x"]]}',
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "undecodable_submission: It must be JSON or XML: "),
        (b"SMSSent=1&MessageID=42", "undecodable_submission: It must be JSON or XML: "),
        (b"{", "undecodable_submission: It must be JSON or XML: "),
        (b"<a><b></a>", "undecodable_submission: It must be JSON or XML: mismatched tag"),
        (b"null", "no_submission: There is no SMSError in it"),
        (b"[]", "no_submission: There is no answer in it"),
        (b"<ArrayOfSMSResponse/>", "no_submission: There is no answer in it"),
        (b'{"response": null}', "no_submission: There is no SMSError in it"),
        (b"[[]]", "no_submission: There is no SMSError in it"),
        (answer(SMSError=None), "no_submission: There is no SMSError in it"),
        (answer(SMSError=False), "no_submission: SMSError must be a number or a name, not 'false'"),
        (answer(SMSError=[1]), "no_submission: SMSError must be a number or a name, not '[\"1\"]'"),
        (answer(Queued="maybe"), "no_submission: Queued must be true or false, not 'maybe'"),
        (answer(Sent="x" * 99), f"no_submission: Sent must be true or false, not '{'x' * 40}…'"),
    ],
)
def test_rejected_answer_says_what_is_allowed(body: Any, expected: str) -> None:
    assert sentence(body).startswith(expected)


# -- arrays


def test_each_answer_of_an_array_stands_alone() -> None:
    one, other = as_json(answer()), as_json(refusal(3))
    parsed = parse(b"[ " + one + b' ,\n {"SMSError" : [] } ,' + other + b', "\xff",7]')
    assert [(s.body.encode(), s.error) for s in parsed.submissions] == [(one, 0), (other, 3)]
    assert [(r.position, r.raw) for r in parsed.rejected] == [
        (1, b'{"SMSError" : [] }'),
        (3, b'"\xff"'),
        (4, b"7"),
    ]


def test_xml_array_is_cut_into_its_elements() -> None:
    first, last = as_xml(answer(SMSError="NoError")), as_xml(refusal(ReferenceID="é & <"))
    odd = b"<Odd at='1'><SMSError>no error</SMSError></Odd >"
    body = b'<?xml version="1.0"?><A xmlns="u">' + first + b"<!-- -->" + odd + b" <Empty/>" + last + b"\n</A>"
    parsed = parse(body)
    assert [submission.body.encode() for submission in parsed.submissions] == [first, last]
    assert parsed.submissions[1].reference_id == "é & <"
    assert [rejected.raw for rejected in parsed.rejected] == [odd, b"<Empty/>"]


def test_too_many_answers_are_rejected_as_a_whole() -> None:
    assert sentence([0] * (MAX_ANSWERS + 1)).startswith(
        f"undecodable_submission: There are {MAX_ANSWERS + 1}"
    )


# -- bytes


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf", b" \r\n"])
@pytest.mark.parametrize("sample", [JSON_ANSWER, XML_ANSWER, b'<?xml version="1.0"?>' + XML_ANSWER])
def test_answer_is_stored_byte_by_byte(bom: bytes, sample: bytes) -> None:
    submission = single(bom + sample)
    assert submission.body.encode() == bom + sample
    assert submission.message_id == MESSAGE_ID


def test_json_that_is_not_utf8_is_windows_1252() -> None:
    body = as_json([answer(ReferenceID="caf?")]).replace(b"?", b"\xe9")
    submission = single(body)
    assert submission.reference_id == "café"
    assert b64decode(submission.body_base64) == body[1:-1]


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "windows-1252"])
def test_xml_has_the_encoding_that_it_declares(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + as_xml(answer(ReferenceID="café")).decode()
    assert single(text.encode(encoding)).reference_id == "café"


# -- hostile documents


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        "<!DOCTYPE a [<!ENTITY x 'y'><!ENTITY z '&x;&x;&x;'>]>",
        "<!DOCTYPE a>",
    ],
)
def test_xml_with_a_document_type_is_rejected(doctype: str) -> None:
    body = doctype.encode() + XML_ANSWER
    assert sentence(body) == "undecodable_submission: It must be JSON or XML: a document type is not allowed"


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" * 11 + b"</a>" * 11,
        b"<a>" * 60_000,
        b'{"a":' * 11 + b"1" + b"}" * 11,
        b'{"SMSError":0,"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
        b"[" * 60_000 + b"]" * 60_000,
    ],
)
def test_deeply_nested_documents_are_rejected(body: bytes) -> None:
    assert sentence(body).startswith("undecodable_submission: It must be JSON or XML: ")


def test_undefined_entity_is_rejected() -> None:
    assert sentence(XML_ANSWER.replace(b"String", b"&x;")).startswith("undecodable_submission")


# -- the request beside the answer


def envelope(response: Any, request: Any) -> dict[str, Any]:
    return {"request": request, "response": response}


def advanced(*requests: dict[str, Any]) -> dict[str, Any]:
    return {"LicenseKey": "a-secret", "Concatenate": False, "SMSRequests": list(requests)}


def sms_request(*numbers: str, **fields: Any) -> dict[str, Any]:
    return {
        "AssignedDID": "+1 757 544 9510",
        "Message": "Ready",
        "PhoneNumbers": list(numbers),
        "ReferenceID": "r",
        "ScheduledDateTime": "2026-12-01T08:00:00Z",
        "StatusPostBackURL": "https://example.com/postback/a-token",
    } | fields


REQUESTED = ("Ready", "17575449510", "17575449511", "r", "2026-12-01T08:00:00.000Z")
XML_REQUEST = (
    '<SMSAdvancedRequest xmlns="http://schemas.datacontract.org/2004/07/SmsWS"><LicenseKey>k</LicenseKey>'
    '<SMSRequests><SMSRequest xmlns="http://sms2.cdyne.com"><AssignedDID>17575449510</AssignedDID>'
    '<Message>Ready</Message><PhoneNumbers><string xmlns="s">17575449511</string></PhoneNumbers>'
    "<ReferenceID>r</ReferenceID><ScheduledDateTime>2026-12-01T08:00:00</ScheduledDateTime></SMSRequest>"
    "</SMSRequests></SMSAdvancedRequest>"
)


def requested(submission: Submission) -> tuple[Any, ...]:
    return (
        submission.text,
        submission.from_number,
        submission.to_number,
        submission.reference_id,
        submission.scheduled_for,
    )


@pytest.mark.parametrize(
    "request_",
    [
        advanced(sms_request("17575449511")),
        sms_request("17575449511"),
        [sms_request("17575449511")],
        json.dumps(advanced(sms_request("17575449511"))),
        XML_REQUEST,
    ],
)
@pytest.mark.parametrize("response", [answer(), [answer()], json.dumps(answer()), as_xml(answer()).decode()])
def test_request_tells_what_was_sent(request_: Any, response: Any) -> None:
    assert requested(single(envelope(response, request_))) == REQUESTED


def test_simple_request_tells_text_and_number() -> None:
    request = {"PhoneNumber": "17575449511", "Message": "Hi", "LicenseKey": "a-secret"}
    assert requested(single(envelope(answer(), request))) == ("Hi", "", "17575449511", "", None)


def test_secrets_of_the_request_are_not_stored() -> None:
    value = encode(single(envelope(answer(), advanced(sms_request("17575449511")))))
    assert b"a-secret" not in value
    assert b"a-token" not in value


def test_rejected_answer_has_nothing_of_the_request() -> None:
    (rejected,) = parse(envelope({"odd": 1}, advanced(sms_request("1")))).rejected
    assert rejected.raw == b'{"odd": 1}'


def test_answers_have_the_order_of_the_numbers() -> None:
    request = advanced(sms_request("1", "2"), sms_request("3", Message="Other", ReferenceID="s"))
    response = [answer(ReferenceID="r"), {"odd": 1}, answer(ReferenceID="s")]
    assert [(s.to_number, s.text) for s in parse(envelope(response, request)).submissions] == [
        ("1", "Ready"),
        ("3", "Other"),
    ]


def test_contradicting_references_decide_over_the_order() -> None:
    request = advanced(sms_request("1"), sms_request("2", Message="Other", ReferenceID="s"))
    response = [answer(ReferenceID="s"), answer(ReferenceID="r"), answer(ReferenceID="t")]
    for count in (2, 3):
        submissions = parse(envelope(response[:count], request)).submissions
        found = [(s.to_number, s.text) for s in submissions]
        assert found == [("2", "Other"), ("1", "Ready"), ("", "")][:count]


def test_number_is_unknown_if_counts_differ() -> None:
    request = advanced(sms_request("1", "2", "3"))
    submissions = parse(envelope([answer(), answer()], request)).submissions
    assert [(s.to_number, s.text) for s in submissions] == [("", "Ready")] * 2


def test_text_of_the_request_is_bounded() -> None:
    request = advanced(sms_request("1" * 99, Message="é" * 9_999, ReferenceID="x" * 9_999))
    text, _, to_number, reference, _ = requested(single(envelope(answer(), request)))
    assert (text, to_number, reference) == ("é" * MAX_TEXT, "1" * 32, "x" * MAX_TEXT)


@pytest.mark.parametrize("scheduled", [None, "", "0001-01-01T00:00:00", "1960-01-01T00:00:00Z", "soon"])
def test_unusable_schedule_is_null(scheduled: str | None) -> None:
    request = advanced(sms_request("1", ScheduledDateTime=scheduled))
    assert single(envelope(answer(), request)).scheduled_for is None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("<a", "it is neither JSON nor XML: "),
        ("Message=Hi", "it is neither JSON nor XML: "),
        ({"odd": 1}, "there is no Message in it"),
        (7, "there is no Message in it"),
    ],
)
def test_unusable_request_loses_no_answer(request_: Any, expected: str) -> None:
    parsed = parse(envelope(answer(), request_))
    assert parsed.unused_request.startswith(expected)
    assert parsed.submissions[0].message_id == MESSAGE_ID


def test_missing_request_is_no_problem() -> None:
    for body in ({"response": answer()}, envelope(answer(), None), answer()):
        assert parse(body).unused_request == ""


# -- event ids


@given(answers, st.randoms(use_true_random=False), st.booleans(), st.sampled_from([None, 1]))
def test_rewritten_json_has_the_same_event_id(
    given_answer: dict[str, Any], rng: random.Random, ascii_only: bool, indent: int | None
) -> None:
    shuffled = list(given_answer.items())
    rng.shuffle(shuffled)
    recased = {rng.choice((name, name.upper(), name.lower())): value for name, value in shuffled}
    again = json.dumps(recased, ensure_ascii=ascii_only, indent=indent).encode()
    other = single(
        b"[" + again + b"]",
        query="a=1",
        client_ip="203.0.113.99",
        received_at="2027-01-01T00:00:00.000Z",
    )
    assert single(given_answer).event_id == other.event_id


@given(answers)
def test_request_does_not_change_the_event_id(given_answer: dict[str, Any]) -> None:
    alone = single(given_answer)
    beside = single(envelope(given_answer, advanced(sms_request("1"))))
    quoted = single(envelope(json.dumps(given_answer), "<a"))
    assert alone.event_id == beside.event_id == quoted.event_id


@given(answers, answers)
def test_different_answers_have_different_event_ids(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = single(one), single(other)
    content = [json.dumps(without_empty(value), sort_keys=True) for value in (one, other)]
    assume(content[0] != content[1])
    assert first.event_id != second.event_id


def without_empty(value: Any) -> Any:
    """The value as decoded text, where null, empty and missing fields are the same."""
    if isinstance(value, dict):
        fields: dict[str, list[Any]] = {}
        for name, item in value.items():
            if (kept := without_empty(item)) not in ("", [], {}):
                fields.setdefault(name.lower(), []).append(kept)
        return fields
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def test_number_and_name_are_different_texts() -> None:
    """What a number means is an interpretation, so an answer should be posted in one format."""
    assert single(answer()).event_id != single(answer(SMSError="NoError")).event_id
    assert single(answer()).event_id == single(answer(SMSError="0")).event_id


def test_xml_event_id_ignores_layout_only() -> None:
    compact = b"".join(line.strip() for line in XML_ANSWER.splitlines())
    assert single(XML_ANSWER).event_id == single(compact).event_id
    array = b'<a:ArrayOfSMSResponse xmlns:a="u">' + XML_ANSWER + b"</a:ArrayOfSMSResponse>"
    assert single(XML_ANSWER).event_id == single(array).event_id
    assert single(XML_ANSWER).event_id != single(XML_ANSWER.replace(b"String", b"string")).event_id


def test_event_id_depends_on_the_account() -> None:
    assert single(JSON_ANSWER).event_id != single(JSON_ANSWER, account="umbrella").event_id


def test_equal_refusals_of_an_array_are_different_events() -> None:
    """Without a MessageID the place in the provider's answer is all that tells them apart."""
    refusals = [refusal(), refusal(), answer()]
    ids = [submission.event_id for submission in parse(refusals).submissions]
    assert len(set(ids)) == 3
    assert ids == [submission.event_id for submission in parse(envelope(refusals, XML_REQUEST)).submissions]
    other_send = [refusal(), refusal(), answer(MessageID=MESSAGE_ID[::-1])]
    assert len({*ids, *(submission.event_id for submission in parse(other_send).submissions)}) == 6


def test_event_ids_never_change() -> None:
    """Stored events have them: a change would count every repeated answer twice."""
    assert single(JSON_ANSWER).event_id == "902f2024823e5dfd03f111a25f8908da"
    assert single(XML_ANSWER).event_id == "e6e0985fa315a8ab6d69add251cef959"
    assert single(refusal(3)).event_id == "24863c51c3cfd7ea149edb5c7e417109"


# -- arbitrary bodies


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda raw: b"<A>" + raw + b"</A>"),
        st.binary(max_size=60).map(lambda raw: b'[{"SMSError":0,"ReferenceID":"' + raw + b'"},' + raw + b"]"),
        st.binary(max_size=60).map(lambda raw: b'{"response":' + JSON_ANSWER + b',"request":' + raw + b"}"),
        st.lists(
            st.sampled_from([b"<a>", b"</a>", b"<SMSError>", b"1", b"{", b"}", b"[", b"]", b'"', b","])
        ).map(b"".join),
    )
)
def test_any_body_is_stored_or_rejected(body: bytes) -> None:
    request: RawRequest = raw_request(body)
    try:
        parsed = parse_answers(request)
    except NotASubmission:
        return
    assert parsed.submissions or parsed.rejected
    for submission in parsed.submissions:
        assert decode_submission(encode(submission)) == submission
        assert (submission.body.encode() or b64decode(submission.body_base64)) in body
    for rejected in parsed.rejected:
        assert rejected.raw in body


# -- answers that were rejected, one by one


@given(st.lists(answers, max_size=4), st.sampled_from(["JSON", "XML", "Windows-1252"]))
def test_answer_alone_is_the_same_submission(given: list[dict[str, Any]], form: str) -> None:
    unusable = {"odd": 1}
    if form == "JSON":
        body = as_json([*given, unusable])
    else:
        for each in given:  # not all characters may be in XML; a "ü" in Windows-1252 is never UTF-8
            each["ReferenceID"] = "".join(filter(str.isprintable, each["ReferenceID"])) + "ü"
        documented = [{name: each[name] for name in answer()} for each in given]
        elements = b"".join(map(as_xml, [*documented, unusable]))
        body = b"<ArrayOfSMSResponse>" + elements + b"</ArrayOfSMSResponse>"
    if form == "Windows-1252":
        text = body.decode().encode("cp1252", errors="xmlcharrefreplace")
        body = b'<?xml version="1.0" encoding="windows-1252"?>' + text
    parsed = parse(body)
    (rejected,) = parsed.rejected
    assert (rejected.position, len(parsed.submissions)) == (len(given), len(given))
    together = rejected.place.removesuffix(f"/{len(given)}")
    for position, submission in enumerate(parsed.submissions):
        raw = submission.body.encode() or b64decode(submission.body_base64)
        assert parse_answer(raw_request(raw), f"{together}/{position}") == submission
    with pytest.raises(NotASubmission) as error:
        parse_answer(raw_request(rejected.raw), rejected.place)
    assert (error.value.reason, str(error.value)) == (rejected.error.reason, str(rejected.error))


@pytest.mark.parametrize("raw", [as_json([answer()]), as_json({"response": answer()}), b"{"])
def test_answer_alone_is_not_a_body(raw: bytes) -> None:
    with pytest.raises(NotASubmission):
        parse_answer(raw_request(raw), "1/0")
