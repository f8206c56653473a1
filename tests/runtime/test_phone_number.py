"""Both forms of a US number are one contact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.phone_number import canonical, read_written


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("17575449510", "7575449510"),
        ("+1 (757) 544-9510", "7575449510"),
        ("7575449510", "7575449510"),
        ("74121", "74121"),
        ("1", "1"),
        ("+447700900123", "447700900123"),
        ("27575449510", "27575449510"),
        ("117575449510", "117575449510"),
        ("\N{ARABIC-INDIC DIGIT SEVEN}", ""),
        ("anonymous", ""),
    ],
)
def test_canonical_number_has_digits_without_leading_one(number: str, expected: str) -> None:
    assert canonical(number) == expected


@given(st.text(st.sampled_from("0123456789+- ()x\n\N{ARABIC-INDIC DIGIT SEVEN}"), max_size=16))
def test_canonical_number_stays_itself(number: str) -> None:
    digits = "".join(character for character in number if character in "0123456789")
    assert canonical(canonical(number)) == canonical(number)
    assert canonical(number) in (digits, digits.removeprefix("1"))
    assert canonical(digits) == canonical(number)


@pytest.mark.parametrize(
    "text", ["", "1234", "anonymous", "7575449510x2", "1" * 16, "75754++49510", "01117575449510"]
)
def test_what_is_no_phone_number_is_not_read(text: str) -> None:
    assert read_written(text) is None


@pytest.mark.parametrize("text", ["17575449510", " +1 (757) 544-9510\n", "757.544.9510"])
def test_written_number_is_read_in_canonical_form(text: str) -> None:
    assert read_written(text) == "7575449510"
