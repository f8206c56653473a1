"""What a request of the provider means: types, ids, fields from three places, what identifies an event."""

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
from gateway.postback import TOPIC_OF, Receipt, Response, Sent, decode, decode_rejected, encode
from gateway.rejected import NotAPostback, rejected
from tests.support.samples import RECEIPT, RECEIVED_AT, RESPONSE, SENT, arrival

MESSAGE_ID = "9a35e913-ded0-7574-4642-5f60c550c706"
ZERO = "00000000-0000-0000-0000-000000000000"

texts = st.text(st.characters(codec="utf-8"), max_size=20)
filled_texts = texts.filter(bool)


def reason(came: RawRequest) -> str:
    with pytest.raises(NotAPostback) as why:
        parse(came)
    return why.value.reason


def event_id(body: bytes, **others: str) -> str:
    return parse(arrival(body, **others)).event_id  # type: ignore[arg-type]


# -- the packets that the provider prints


def test_the_printed_sent() -> None:
    assert parse(arrival(SENT, "account=42")) == Sent(
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


def test_the_printed_response_is_about_the_message_that_it_matches() -> None:
    postback = parse(arrival(RESPONSE))
    assert isinstance(postback, Response)
    assert postback.message_id == "11111111-2222-1111-2222-000000000004"
    assert postback.reply_id == MESSAGE_ID
    assert postback.matched
    assert postback.text == "Test"
    assert postback.occurred_at == "2010-05-08T02:42:36.000Z"


def test_the_printed_receipt_has_raw_spaces_and_colons() -> None:
    postback = parse(arrival(RECEIPT))
    assert isinstance(postback, Receipt)
    assert postback.code == "003"
    assert postback.text.startswith("sm: msg: id:18579674100201040 sub:001")
    assert postback.text.endswith("stat:DELIVERED TO CARRIER err:003 text:")
    assert (postback.from_number, postback.to_number) == ("74121", "17572373369")
    assert postback.backup_message_id is None
    assert postback.occurred_at is None


@pytest.mark.parametrize("body", [SENT, RESPONSE, RECEIPT])
def test_what_is_encoded_is_what_is_decoded(body: bytes) -> None:
    postback = parse(arrival(body, "a=1", {"X": "y"}))
    assert decode(TOPIC_OF[type(postback)], encode(postback)) == postback


# -- the type


def test_a_failed_send_is_a_postback_like_any_other() -> None:
    postback = parse(arrival(SENT.replace(b"SMSSent=1", b"SMSSent=0")))
    assert isinstance(postback, Sent)
    assert not postback.sent


@pytest.mark.parametrize(
    ("value", "sent"),
    [("1", True), ("true", True), ("yes", True), ("0", False), ("False", False), ("+0+", False)],
)
def test_presence_makes_the_type_and_the_value_says_how_it_went(value: str, sent: bool) -> None:
    postback = parse(arrival(f"SMSSent={value}&MessageID={MESSAGE_ID}".encode()))
    assert isinstance(postback, Sent)
    assert postback.sent is sent


@pytest.mark.parametrize(
    "body", [b"", b"SMSSent=", b"SMSSent", b"SMSSent=+", b'{"SMSSent": 1}', b"\xff\x00&&&=&="]
)
def test_without_a_type_it_is_no_postback(body: bytes) -> None:
    assert reason(arrival(body + f"&MessageID={MESSAGE_ID}".encode())) == "no_type"


@pytest.mark.parametrize("pair", [*combinations(["SMSSent", "SMSResponse", "DeliveryReceipt"], 2)])
def test_more_than_one_type_is_ambiguous_wherever_they_are(pair: tuple[str, str]) -> None:
    first, second = pair
    assert reason(arrival(f"{first}=1&{second}=0&MessageID={MESSAGE_ID}".encode())) == "ambiguous_type"
    assert reason(arrival(f"{first}=1&MessageID={MESSAGE_ID}".encode(), f"{second}=1")) == "ambiguous_type"


def test_an_empty_marker_of_another_type_is_not_there() -> None:
    assert isinstance(parse(arrival(SENT + b"&SMSResponse=&DeliveryReceipt=")), Sent)


# -- ids


@pytest.mark.parametrize("message_id", ["", "42", ZERO, ZERO[:-1], "9a35e913-ded0-7574-4642-5f60c550c70"])
def test_without_a_usable_id_it_is_no_postback(message_id: str) -> None:
    assert reason(arrival(f"SMSSent=1&MessageID={message_id}".encode())) == "no_message_id"
    assert reason(arrival(f"DeliveryReceipt=1&MessageID={message_id}".encode())) == "no_message_id"
    assert reason(arrival(f"SMSResponse=1&MessageID={message_id}".encode())) == "no_message_id"


@pytest.mark.parametrize("matched_id", [None, "", ZERO, ZERO[:-1], "none"])
def test_an_inbound_message_stands_under_its_own_id(matched_id: str | None) -> None:
    field = "" if matched_id is None else f"&MatchedMessageID={matched_id}"
    postback = parse(arrival(f"SMSResponse=1&MessageID={MESSAGE_ID}{field}&Message=Hi".encode()))
    assert isinstance(postback, Response)
    assert (postback.message_id, postback.reply_id, postback.matched) == (MESSAGE_ID, MESSAGE_ID, False)


def test_a_matched_response_needs_no_id_of_its_own() -> None:
    postback = parse(arrival(f"SMSResponse=1&MessageID={ZERO}&MatchedMessageID={MESSAGE_ID}".encode()))
    assert isinstance(postback, Response)
    assert (postback.message_id, postback.reply_id, postback.matched) == (MESSAGE_ID, None, True)


def test_a_receipt_may_link_to_the_message_that_was_sent_instead() -> None:
    backup = "AAAAAAAA-0000-0000-0000-000000000001"
    postback = parse(arrival(RECEIPT + b"&BackupMessageID=" + backup.encode()))
    assert isinstance(postback, Receipt)
    assert postback.backup_message_id == backup.lower()
    assert postback.extra == {}


def test_a_code_stays_as_it_is_but_for_the_spaces_around() -> None:
    postback = parse(arrival(f"DeliveryReceipt=1&MessageID={MESSAGE_ID}&Code=+7x%0d%0a".encode()))
    assert isinstance(postback, Receipt)
    assert postback.code == "7x"


# -- three places


def test_the_same_fields_mean_the_same_in_body_query_and_headers() -> None:
    fields = {
        "SMSSent": "1",
        "MessageID": MESSAGE_ID,
        "FromPhoneNumber": "74121",
        "SentTime": "5/8/2010 2:42:36 AM",
    }
    body = parse(arrival(urlencode(fields).encode()))
    query = parse(arrival(query=urlencode(fields)))
    headers = parse(arrival(headers=fields))
    assert body.event_id == query.event_id == headers.event_id
    assert body.occurred_at == query.occurred_at == headers.occurred_at == "2010-05-08T02:42:36.000Z"
    assert (body.headers, query.headers, headers.headers) == ({}, {}, fields)


def test_each_field_comes_from_the_first_place_where_it_is_not_empty() -> None:
    postback = parse(
        arrival(
            f"SMSSent=1&MessageID={MESSAGE_ID}&ReferenceID=&FromPhoneNumber=1".encode(),
            "referenceid=from+query&FromPhoneNumber=2",
            {"REFERENCEID": "from headers", "ToPhoneNumber": "3", "User-Agent": "CDYNE SMSv2"},
        )
    )
    assert (postback.reference_id, postback.from_number, postback.to_number) == ("from query", "1", "3")
    assert postback.headers == {"ToPhoneNumber": "3"}


def test_names_match_in_any_case() -> None:
    postback = parse(arrival(SENT.replace(b"MessageID", b"messageid").replace(b"SMSSent", b"smssENT")))
    assert isinstance(postback, Sent)
    assert postback.message_id == MESSAGE_ID
    assert (postback.event_id, postback.extra) == (event_id(SENT), {})


def test_of_a_repeated_name_the_first_that_is_not_empty_counts() -> None:
    postback = parse(arrival(SENT.replace(b"ReferenceID=12345", b"ReferenceID=&ReferenceID=a&referenceid=b")))
    assert postback.reference_id == "a"


def test_the_customers_own_query_stays_a_query() -> None:
    postback = parse(arrival(SENT, "account=42&tag=x"))
    assert (postback.query, postback.extra) == ("account=42&tag=x", {})


def test_unknown_fields_of_the_carrier_are_extra() -> None:
    assert parse(arrival(SENT + b"&New=%41+b&Empty=")).extra == {"New": "A b"}
    assert parse(arrival(query=SENT.decode() + "&New=1")).extra == {"New": "1"}
    assert parse(arrival(b"Odd=1", SENT.decode() + "&New=2")).extra == {"Odd": "1", "New": "2"}


def test_a_field_of_another_type_is_one_that_nobody_knows() -> None:
    assert parse(arrival(SENT + b"&Code=003")).extra == {"Code": "003"}


# -- bytes


def test_percent_escapes_that_are_not_utf8_are_windows_1252() -> None:
    def text(escaped: str) -> str:
        postback = parse(arrival(f"SMSResponse=1&MessageID={MESSAGE_ID}&Message={escaped}".encode("latin-1")))
        assert isinstance(postback, Response)
        return postback.text

    assert text("caf%C3%A9") == "café"
    assert text("caf%E9+%80%93") == "café €“"
    assert text("%81%9d") == "\x81\x9d"
    assert text("caf\xe9") == "café"
    assert text("100%+%zz%4") == "100% %zz%4"


def test_the_body_is_kept_exactly() -> None:
    assert parse(arrival(RECEIPT + b"\r\n")).body.encode() == RECEIPT + b"\r\n"
    raw = SENT + b"&Odd=\xff\x00"
    postback = parse(arrival(raw))
    assert postback.body == ""
    assert b64decode(postback.body_base64) == raw
    assert postback.extra == {"Odd": "ÿ\x00"}


def multipart(fields: dict[str, str], boundary: str = "--------8d2b") -> bytes:
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return f"{parts}--{boundary}--\r\n".encode()


def test_a_multipart_form_says_the_same_as_a_urlencoded_one() -> None:
    fields = {"SMSResponse": "1", "MessageID": MESSAGE_ID, "Message": "a&b=c é\r\n--x", "Odd": "1"}
    one, other = parse(arrival(multipart(fields))), parse(arrival(urlencode(fields).encode()))
    assert one.event_id == other.event_id
    assert one.extra == {"Odd": "1"}
    assert isinstance(one, Response)
    assert one.text == "a&b=c é\r\n--x"


def test_a_damaged_multipart_form_is_undecodable() -> None:
    whole = multipart({"SMSSent": "1", "MessageID": MESSAGE_ID})
    assert reason(arrival(whole[:-10])) == "undecodable"
    assert reason(arrival(whole.replace(b"\r\n", b"\n"))) == "undecodable"


# -- the event's id


provider_fields = st.dictionaries(
    st.sampled_from(sorted(PROVIDER_FIELDS - {"smssent", "smsresponse", "deliveryreceipt", "messageid"})),
    filled_texts,
)
bodies = st.builds(
    lambda marker, fields, extra: {marker: "1", "messageid": MESSAGE_ID} | fields | extra,
    st.sampled_from(["smssent", "smsresponse", "deliveryreceipt"]),
    provider_fields,
    st.dictionaries(st.sampled_from(["new", "odd"]), filled_texts),
)


@given(bodies, st.randoms(use_true_random=False))
def test_the_same_said_twice_is_the_same_event(fields: dict[str, str], chance: random.Random) -> None:
    shuffled = list(fields.items())
    chance.shuffle(shuffled)
    recased = [(name.upper() if chance.random() < 0.5 else name.title(), value) for name, value in shuffled]
    first = arrival(urlencode(fields).encode())
    again = arrival(
        urlencode(recased, quote_via=chance.choice([quote, quote_plus])).encode() + b"&Empty=&SMSSent=",
        query="account=42",
        headers={"user-agent": "another"},
        client_ip="203.0.113.99",
        received_at="2027-01-01T00:00:00.000Z",
    )
    assert parse(first).event_id == parse(again).event_id


@given(bodies, bodies)
def test_what_differs_in_anything_said_is_another_event(one: dict[str, str], other: dict[str, str]) -> None:
    assume(one != other)
    assert event_id(urlencode(one).encode()) != event_id(urlencode(other).encode())


@given(bodies, st.sampled_from(["extra", "messageid"]), filled_texts)
def test_a_second_value_under_a_name_is_said_too(fields: dict[str, str], name: str, value: str) -> None:
    once = urlencode(fields).encode()
    assert event_id(once) != event_id(once + b"&" + urlencode({name: value}).encode())


def test_the_same_for_another_account_is_another_event() -> None:
    assert event_id(SENT, account="acme") != event_id(SENT, account="umbrella")


def test_another_spelling_of_the_id_is_another_event() -> None:
    """The hash is of what was said, so that a better parser does not change it."""
    assert event_id(SENT) != event_id(SENT.replace(b"9a35e913", b"9A35E913"))


def test_event_ids_never_change() -> None:
    """They are in everybody's tables: a change here counts every repeated postback twice."""
    assert event_id(SENT) == "6634b6a0a47911e9781cd9ec09d0a98d"
    assert event_id(RESPONSE) == "a513d5754f87d84c97987d3efa0f1a82"
    assert event_id(RECEIPT) == "df0a49cea74aa70e39222f8edc830e0d"


# -- anything at all


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
    texts,
    st.dictionaries(st.sampled_from(["Code", "smssent", "MessageID", "User-Agent"]), texts),
)
def test_whatever_comes_is_a_postback_or_rejected_and_can_be_written(
    body: bytes, query: str, headers: dict[str, str]
) -> None:
    came = arrival(body, query, headers)
    try:
        postback = parse(came)
    except NotAPostback as why:
        record = rejected(came, why.reason, "r1")
        assert decode_rejected(encode(record)) == record
        kept = record.body.encode() or b64decode(record.body_base64)
    else:
        assert decode(TOPIC_OF[type(postback)], encode(postback)) == postback
        kept = postback.body.encode() or b64decode(postback.body_base64)
    assert kept == body
