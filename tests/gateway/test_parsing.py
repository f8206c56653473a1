"""Parsing of requests: types, ids, the three sources of fields, event ids."""

from __future__ import annotations

import random
from base64 import b64decode
from itertools import combinations
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.parsing.postback import parse
from gateway.parsing.request import PROVIDER_FIELDS, RawRequest
from gateway.postback import TOPIC_OF, Receipt, Response, Sent, decode, encode
from gateway.rejected import NotAPostback, decode_rejected, reject_request
from tests.support.samples import RECEIPT, RECEIVED_AT, RESPONSE, SENT, raw_request

MESSAGE_ID = "9a35e913-ded0-7574-4642-5f60c550c706"
ZERO = "00000000-0000-0000-0000-000000000000"

any_text = st.text(st.characters(codec="utf-8"), max_size=20)
nonempty_text = any_text.filter(bool)


def reason(request: RawRequest) -> str:
    with pytest.raises(NotAPostback) as why:
        parse(request)
    return why.value.reason


def event_id(body: bytes, **others: str) -> str:
    return parse(raw_request(body, **others)).event_id  # type: ignore[arg-type]


# -- examples of the provider's documentation


def test_documented_sent() -> None:
    assert parse(raw_request(SENT, "account=42")) == Sent(
        event_id=event_id(SENT),
        message_id=MESSAGE_ID,
        account="acme",
        reference_id="12345",
        from_number="17575449510",
        to_number="17575449511",
        occurred_at="2010-05-08T02:42:36.000Z",
        received_at=RECEIVED_AT,
        client_ip="203.0.113.7",
        query="account=42",
        body=SENT.decode(),
        extra={},
        sent=True,
    )


def test_documented_response_is_about_its_matched_message() -> None:
    postback = parse(raw_request(RESPONSE))
    assert isinstance(postback, Response)
    assert postback.message_id == "11111111-2222-1111-2222-000000000004"
    assert postback.reply_id == MESSAGE_ID
    assert postback.matched
    assert postback.text == "Test"
    assert postback.occurred_at == "2010-05-08T02:42:36.000Z"


@pytest.mark.parametrize(("value", "marker"), [("1", "1"), ("%201", "1"), ("0", "0"), ("true", "true")])
def test_marker_other_than_one_is_kept(value: str, marker: str) -> None:
    postback = parse(raw_request(RESPONSE.replace(b"SMSResponse=1", f"SMSResponse={value}".encode())))
    assert isinstance(postback, Response)
    assert postback.marker == marker
    assert (b"marker" in encode(postback)) == (marker != "1")


def test_documented_receipt_has_raw_spaces_and_colons() -> None:
    postback = parse(raw_request(RECEIPT))
    assert isinstance(postback, Receipt)
    assert postback.code == "003"
    assert postback.text.startswith("sm: msg: id:18579674100201040 sub:001")
    assert postback.text.endswith("stat:DELIVERED TO CARRIER err:003 text:")
    assert (postback.from_number, postback.to_number) == ("74121", "17572373369")
    assert postback.backup_message_id is None
    assert postback.occurred_at is None


@pytest.mark.parametrize("body", [SENT, RESPONSE, RECEIPT])
def test_encoded_postbacks_round_trip(body: bytes) -> None:
    postback = parse(raw_request(body, "a=1", {"X": "y"}))
    assert decode(TOPIC_OF[type(postback)], encode(postback)) == postback


# -- the type


def test_refused_send_is_a_postback() -> None:
    postback = parse(raw_request(SENT.replace(b"SMSSent=1", b"SMSSent=0")))
    assert isinstance(postback, Sent)
    assert not postback.sent


@pytest.mark.parametrize(
    ("value", "sent"),
    [("1", True), ("true", True), ("yes", True), ("0", False), ("False", False), ("+0+", False)],
)
def test_value_of_smssent_is_its_outcome(value: str, sent: bool) -> None:
    postback = parse(raw_request(f"SMSSent={value}&MessageID={MESSAGE_ID}".encode()))
    assert isinstance(postback, Sent)
    assert postback.sent is sent


@pytest.mark.parametrize(
    "body", [b"", b"SMSSent=", b"SMSSent", b"SMSSent=+", b'{"SMSSent": 1}', b"\xff\x00&&&=&="]
)
def test_request_without_a_marker_is_rejected(body: bytes) -> None:
    assert reason(raw_request(body + f"&MessageID={MESSAGE_ID}".encode())) == "no_type"


@pytest.mark.parametrize("pair", [*combinations(["SMSSent", "SMSResponse", "DeliveryReceipt"], 2)])
def test_two_markers_are_ambiguous_in_any_source(pair: tuple[str, str]) -> None:
    first, second = pair
    assert reason(raw_request(f"{first}=1&{second}=0&MessageID={MESSAGE_ID}".encode())) == "ambiguous_type"
    assert (
        reason(raw_request(f"{first}=1&MessageID={MESSAGE_ID}".encode(), f"{second}=1")) == "ambiguous_type"
    )


def test_empty_markers_are_ignored() -> None:
    assert isinstance(parse(raw_request(SENT + b"&SMSResponse=&DeliveryReceipt=")), Sent)


# -- ids


@pytest.mark.parametrize("message_id", ["", "42", ZERO, ZERO[:-1], "9a35e913-ded0-7574-4642-5f60c550c70"])
def test_request_without_a_usable_id_is_rejected(message_id: str) -> None:
    assert reason(raw_request(f"SMSSent=1&MessageID={message_id}".encode())) == "no_message_id"
    assert reason(raw_request(f"DeliveryReceipt=1&MessageID={message_id}".encode())) == "no_message_id"
    assert reason(raw_request(f"SMSResponse=1&MessageID={message_id}".encode())) == "no_message_id"


@pytest.mark.parametrize("matched_id", [None, "", ZERO, ZERO[:-1], "none"])
def test_unmatched_response_has_its_own_message_id(matched_id: str | None) -> None:
    field = "" if matched_id is None else f"&MatchedMessageID={matched_id}"
    postback = parse(raw_request(f"SMSResponse=1&MessageID={MESSAGE_ID}{field}&Message=Hi".encode()))
    assert isinstance(postback, Response)
    assert (postback.message_id, postback.reply_id, postback.matched) == (MESSAGE_ID, MESSAGE_ID, False)


def test_matched_response_needs_no_own_id() -> None:
    postback = parse(raw_request(f"SMSResponse=1&MessageID={ZERO}&MatchedMessageID={MESSAGE_ID}".encode()))
    assert isinstance(postback, Response)
    assert (postback.message_id, postback.reply_id, postback.matched) == (MESSAGE_ID, None, True)


def test_receipt_may_link_to_a_backup_message() -> None:
    backup = "AAAAAAAA-0000-0000-0000-000000000001"
    postback = parse(raw_request(RECEIPT + b"&BackupMessageID=" + backup.encode()))
    assert isinstance(postback, Receipt)
    assert postback.backup_message_id == backup.lower()
    assert postback.extra == {}


def test_code_is_stripped_of_whitespace_only() -> None:
    postback = parse(raw_request(f"DeliveryReceipt=1&MessageID={MESSAGE_ID}&Code=+7x%0d%0a".encode()))
    assert isinstance(postback, Receipt)
    assert postback.code == "7x"


# -- the sources of fields


def test_fields_parse_equally_from_body_query_and_headers() -> None:
    fields = {
        "SMSSent": "1",
        "MessageID": MESSAGE_ID,
        "FromPhoneNumber": "74121",
        "SentTime": "5/8/2010 2:42:36 AM",
    }
    body = parse(raw_request(urlencode(fields).encode()))
    query = parse(raw_request(query=urlencode(fields)))
    headers = parse(raw_request(headers=fields))
    assert body.event_id == query.event_id == headers.event_id
    assert body.occurred_at == query.occurred_at == headers.occurred_at == "2010-05-08T02:42:36.000Z"
    assert (body.headers, query.headers, headers.headers) == ({}, {}, fields)


def test_first_source_with_a_value_wins() -> None:
    postback = parse(
        raw_request(
            f"SMSSent=1&MessageID={MESSAGE_ID}&ReferenceID=&FromPhoneNumber=1".encode(),
            "referenceid=from+query&FromPhoneNumber=2",
            {"REFERENCEID": "from headers", "ToPhoneNumber": "3", "User-Agent": "CDYNE SMSv2"},
        )
    )
    assert (postback.reference_id, postback.from_number, postback.to_number) == ("from query", "1", "3")
    assert postback.headers == {"ToPhoneNumber": "3"}


def test_names_match_in_any_case() -> None:
    postback = parse(raw_request(SENT.replace(b"MessageID", b"messageid").replace(b"SMSSent", b"smssENT")))
    assert isinstance(postback, Sent)
    assert postback.message_id == MESSAGE_ID
    assert (postback.event_id, postback.extra) == (event_id(SENT), {})


def test_first_nonempty_value_of_a_name_wins() -> None:
    postback = parse(
        raw_request(SENT.replace(b"ReferenceID=12345", b"ReferenceID=&ReferenceID=a&referenceid=b"))
    )
    assert postback.reference_id == "a"


def test_customer_query_is_not_extra() -> None:
    postback = parse(raw_request(SENT, "account=42&tag=x"))
    assert (postback.query, postback.extra) == ("account=42&tag=x", {})


def test_unknown_fields_are_extra() -> None:
    assert parse(raw_request(SENT + b"&New=%41+b&Empty=")).extra == {"New": "A b"}
    assert parse(raw_request(query=SENT.decode() + "&New=1")).extra == {"New": "1"}
    assert parse(raw_request(b"Odd=1", SENT.decode() + "&New=2")).extra == {"Odd": "1", "New": "2"}


def test_fields_of_another_type_are_extra() -> None:
    assert parse(raw_request(SENT + b"&Code=003")).extra == {"Code": "003"}


# -- bytes


def test_escapes_that_are_not_utf8_are_windows_1252() -> None:
    def text(escaped: str) -> str:
        postback = parse(
            raw_request(f"SMSResponse=1&MessageID={MESSAGE_ID}&Message={escaped}".encode("latin-1"))
        )
        assert isinstance(postback, Response)
        return postback.text

    assert text("caf%C3%A9") == "café"
    assert text("caf%E9+%80%93") == "café €“"
    assert text("%81%9d") == "\x81\x9d"
    assert text("caf\xe9") == "café"
    assert text("100%+%zz%4") == "100% %zz%4"


def test_body_is_stored_byte_by_byte() -> None:
    assert parse(raw_request(RECEIPT + b"\r\n")).body.encode() == RECEIPT + b"\r\n"
    raw = SENT + b"&Odd=\xff\x00"
    postback = parse(raw_request(raw))
    assert postback.body == ""
    assert b64decode(postback.body_base64) == raw
    assert postback.extra == {"Odd": "ÿ\x00"}


def multipart(fields: dict[str, str], boundary: str = "--------8d2b") -> bytes:
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return f"{parts}--{boundary}--\r\n".encode()


def test_multipart_form_equals_a_urlencoded_one() -> None:
    fields = {"SMSResponse": "1", "MessageID": MESSAGE_ID, "Message": "a&b=c é\r\n--x", "Odd": "1"}
    one, other = parse(raw_request(multipart(fields))), parse(raw_request(urlencode(fields).encode()))
    assert one.event_id == other.event_id
    assert one.extra == {"Odd": "1"}
    assert isinstance(one, Response)
    assert one.text == "a&b=c é\r\n--x"


def test_damaged_multipart_form_is_undecodable() -> None:
    whole = multipart({"SMSSent": "1", "MessageID": MESSAGE_ID})
    assert reason(raw_request(whole[:-10])) == "undecodable"
    assert reason(raw_request(whole.replace(b"\r\n", b"\n"))) == "undecodable"


# -- event ids


provider_fields = st.dictionaries(
    st.sampled_from(sorted(PROVIDER_FIELDS - {"smssent", "smsresponse", "deliveryreceipt", "messageid"})),
    nonempty_text,
)
bodies = st.builds(
    lambda marker, fields, extra: {marker: "1", "messageid": MESSAGE_ID} | fields | extra,
    st.sampled_from(["smssent", "smsresponse", "deliveryreceipt"]),
    provider_fields,
    st.dictionaries(st.sampled_from(["new", "odd"]), nonempty_text),
)


@given(bodies, st.randoms(use_true_random=False))
def test_equal_fields_give_the_same_event_id(fields: dict[str, str], rng: random.Random) -> None:
    shuffled = list(fields.items())
    rng.shuffle(shuffled)
    recased = [(name.upper() if rng.random() < 0.5 else name.title(), value) for name, value in shuffled]
    first = raw_request(urlencode(fields).encode())
    again = raw_request(
        urlencode(recased, quote_via=rng.choice([quote, quote_plus])).encode() + b"&Empty=&SMSSent=",
        query="account=42",
        headers={"user-agent": "another"},
        client_ip="203.0.113.99",
        received_at="2027-01-01T00:00:00.000Z",
    )
    assert parse(first).event_id == parse(again).event_id


@given(bodies, bodies)
def test_different_fields_give_different_event_ids(one: dict[str, str], other: dict[str, str]) -> None:
    assume(one != other)
    assert event_id(urlencode(one).encode()) != event_id(urlencode(other).encode())


@given(bodies, st.sampled_from(["extra", "messageid"]), nonempty_text)
def test_second_value_of_a_name_changes_event_id(fields: dict[str, str], name: str, value: str) -> None:
    once = urlencode(fields).encode()
    assert event_id(once) != event_id(once + b"&" + urlencode({name: value}).encode())


def test_event_id_depends_on_the_account() -> None:
    assert event_id(SENT, account="acme") != event_id(SENT, account="umbrella")


def test_event_id_depends_on_the_spelling() -> None:
    """The text is hashed before parsing, so that a better parser does not change the id."""
    assert event_id(SENT) != event_id(SENT.replace(b"9a35e913", b"9A35E913"))


def test_event_ids_never_change() -> None:
    """Stored events have them: a change would count every repeated postback twice."""
    assert event_id(SENT) == "6634b6a0a47911e9781cd9ec09d0a98d"
    assert event_id(RESPONSE) == "a513d5754f87d84c97987d3efa0f1a82"
    assert event_id(RECEIPT) == "df0a49cea74aa70e39222f8edc830e0d"


# -- arbitrary requests


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.tuples(st.sampled_from([*sorted(PROVIDER_FIELDS), "x"]), st.binary(max_size=30))).map(
            lambda pairs: b"&".join(
                name.encode() + b"=" + quote_plus(value).encode() for name, value in pairs
            )
        ),
        st.binary(max_size=100).map(lambda raw: b"--b\r\nContent-Disposition: form-data" + raw + b"--b--"),
        st.binary(max_size=30).map(lambda raw: multipart({"SMSSent": "1", "MessageID": MESSAGE_ID}) + raw),
    ),
    any_text,
    st.dictionaries(st.sampled_from(["Code", "smssent", "MessageID", "User-Agent"]), any_text),
)
def test_any_request_is_a_postback_or_rejected(body: bytes, query: str, headers: dict[str, str]) -> None:
    request = raw_request(body, query, headers)
    try:
        postback = parse(request)
    except NotAPostback as why:
        rejection = reject_request(request, why.reason, "r1")
        assert decode_rejected(encode(rejection)) == rejection
        stored = rejection.body.encode() or b64decode(rejection.body_base64)
    else:
        assert decode(TOPIC_OF[type(postback)], encode(postback)) == postback
        stored = postback.body.encode() or b64decode(postback.body_base64)
    assert stored == body
