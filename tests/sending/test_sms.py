"""A message to send, and the two forms in which the provider takes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from msgspec import json

from sending.sms import OutgoingSms, encode_advanced, simple_parameters

KEY = "f01d89fd-5155-5455-5585-e84ab8de8591"


def test_numbers_are_reduced_to_digits() -> None:
    sms = OutgoingSms("+1 (757) 544-9510", "Hi", from_number="1.757.544.9511")
    assert (sms.to_number, sms.from_number) == ("17575449510", "17575449511")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"to_number": "none"}, "to_number='none': must be a phone number of 5 to 15 digits"),
        ({"to_number": "1234"}, "to_number='1234': must be"),
        ({"to_number": "17575449510;17575449511"}, "must be a phone number"),
        ({"from_number": "ACME"}, "from_number='ACME': must be"),
        ({"text": ""}, "text='': must not be empty"),
        ({"text": " \n"}, "must not be empty"),
        ({"text": "a\ud83d"}, "must be valid Unicode"),
        (
            {"scheduled_for": datetime(2026, 11, 28)},
            "scheduled_for=2026-11-28T00:00:00: must have a time zone",
        ),
        ({"status_postback_url": "acme.example/x"}, "status_postback_url: must be http"),
    ],
)
def test_invalid_field_is_named_with_what_is_allowed(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        OutgoingSms(**{"to_number": "17575449510", "text": "Hi"} | fields)  # type: ignore[arg-type]
    assert problem in str(error.value)


def test_repr_shows_no_secret_url() -> None:
    sms = OutgoingSms("17575449510", "Hi", status_postback_url="https://acme.example/postback/hushhush")
    assert "hush" not in repr(sms)


def test_advanced_form_is_the_documented_json() -> None:
    at = datetime(1999, 5, 31, 7, 20, tzinfo=timezone(timedelta(hours=-4)))
    sms = OutgoingSms("17575449510", "Hi / there", "17575449511", "CDYNE Test", at, "http://acme.example/p")
    assert json.decode(encode_advanced([sms], KEY)) == {
        "LicenseKey": KEY,
        "Concatenate": False,
        "IsUnicode": False,
        "SMSRequests": [
            {
                "AssignedDID": "17575449511",
                "Message": "Hi / there",
                "PhoneNumbers": ["17575449510"],
                "ReferenceID": "CDYNE Test",
                "ScheduledDateTime": "/Date(928149600000)/",
                "StatusPostBackURL": "http://acme.example/p",
            }
        ],
    }
    assert b'"\\/Date(928149600000)\\/"' in encode_advanced([sms], KEY)


def test_empty_fields_are_left_out() -> None:
    request = json.decode(encode_advanced([OutgoingSms("17575449510", "Hi")], KEY))
    assert request["SMSRequests"] == [{"Message": "Hi", "PhoneNumbers": ["17575449510"]}]


@pytest.mark.parametrize(
    ("text", "unicode", "concatenate"),
    [("a", False, False), ("a" * 161, False, True), ("ж", True, False), ("ж" * 71, True, True)],
)
def test_flags_follow_from_the_text(text: str, unicode: bool, concatenate: bool) -> None:
    request = json.decode(encode_advanced([OutgoingSms("17575449510", text)], KEY))
    assert (request["IsUnicode"], request["Concatenate"]) == (unicode, concatenate)


def test_messages_of_unlike_encodings_are_not_mixed() -> None:
    messages = [OutgoingSms("17575449510", "Hi"), OutgoingSms("17575449510", "жж")]
    with pytest.raises(ValueError, match="one call has one encoding"):
        encode_advanced(messages, KEY)


def test_simple_form_has_the_documented_parameters() -> None:
    sms = OutgoingSms("17575449510", "Hi", status_postback_url="http://acme.example/p")
    assert simple_parameters(sms, KEY) == {
        "PhoneNumber": "17575449510",
        "Message": "Hi",
        "LicenseKey": KEY,
        "StatusPostBackURL": "http://acme.example/p",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"from_number": "17575449511"},
        {"reference_id": "x"},
        {"scheduled_for": datetime(2026, 11, 28, tzinfo=UTC)},
    ],
)
def test_simple_form_refuses_what_it_lacks(fields: dict[str, object]) -> None:
    sms = OutgoingSms("17575449510", "Hi", **fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{next(iter(fields))}: SimpleSMSsendWithPostback has no such"):
        simple_parameters(sms, KEY)
