"""The provider's errors, by number and by name."""

from __future__ import annotations

import pytest

from gateway.sms_errors import SMS_ERRORS, SmsError, read_sms_error


def test_errors_have_the_documented_numbers_and_names() -> None:
    assert [(error.number, error.name) for error in SMS_ERRORS] == [
        (0, "NoError"),
        (1, "STOPfromPhoneNumber"),
        (2, "LicenseKeyInvalid"),
        (3, "PhoneNumberInvalid"),
        (4, "MessageInvalid"),
        (5, "ScheduledDateTimeIsNotUTC"),
        (6, "InvalidAssignedDID"),
        (7, "NotFound"),
        (8, "InternalError"),
        (9, "AccountSuspended"),
        (10, "AssignedDIDRequired"),
    ]


@pytest.mark.parametrize("error", SMS_ERRORS, ids=lambda error: error.name)
def test_number_and_names_are_the_same_error(error: SmsError) -> None:
    expected = (error.number, error.name)
    assert read_sms_error(str(error.number)) == expected
    for name in (error.name, *error.aliases):
        assert read_sms_error(name) == read_sms_error(f" {name.upper()}\n") == expected


def test_every_error_says_what_to_do() -> None:
    assert all(error.meaning and error.action for error in SMS_ERRORS)


def test_unlisted_errors_are_kept_as_given() -> None:
    assert read_sms_error("11") == (11, "")
    assert read_sms_error("QuotaExceeded") == (None, "QuotaExceeded")


@pytest.mark.parametrize("text", ["", "true", "False", "null", "-1", "1.0", "1234567", "a b", "x" * 65, "٣"])
def test_other_texts_are_no_errors(text: str) -> None:
    assert read_sms_error(text) is None
