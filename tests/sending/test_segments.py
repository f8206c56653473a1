"""How many segments a text takes, which is what the provider charges for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending.segments import Encoding, count_segments

GSM, UCS = Encoding.GSM_7, Encoding.UCS_2


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", GSM, 0, 1),
        ("Zoë", UCS, 3, 1),
        ("a" * 160, GSM, 160, 1),
        ("a" * 161, GSM, 161, 2),
        ("a" * 306, GSM, 306, 2),
        ("a" * 307, GSM, 307, 3),
        ("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ¤ÄÖÑÜ§¿äöñüà", GSM, 44, 1),
        ("€" * 80, GSM, 160, 1),
        ("€" * 81, GSM, 162, 2),
        ("ж" * 70, UCS, 70, 1),
        ("ж" * 71, UCS, 71, 2),
        ("ж" * 134, UCS, 134, 2),
        ("ж" * 135, UCS, 135, 3),
        ("😀" * 35, UCS, 70, 1),
        ("😀" * 36, UCS, 72, 2),
        ("ç", UCS, 1, 1),  # only the capital is in the alphabet
        ("`", UCS, 1, 1),
    ],
)
def test_text_is_counted(text: str, encoding: Encoding, units: int, segments: int) -> None:
    counted = count_segments(text)
    assert (counted.encoding, counted.units, counted.segments) == (encoding, units, segments)


@pytest.mark.parametrize("character", "^{}\\[~]|€\f")
def test_extension_character_takes_two_septets(character: str) -> None:
    assert count_segments(character).units == 2


def test_extension_character_is_not_split_over_segments() -> None:
    # 152 septets, then two that do not fit into the first segment: 152 + (2 + 151) + 1.
    assert count_segments("a" * 152 + "€" + "a" * 151).segments == 2
    assert count_segments("a" * 152 + "€" + "a" * 152).segments == 3


def test_surrogate_pair_is_not_split_over_segments() -> None:
    # 66 units, then two that do not fit into the first segment.
    assert count_segments("ж" * 66 + "😀" + "ж" * 65).segments == 2
    assert count_segments("ж" * 66 + "😀" + "ж" * 66).segments == 3


def test_characters_outside_the_alphabet_are_named() -> None:
    assert count_segments("→ 5 °C, → 6 °C").not_gsm == "→°"
    assert count_segments("plain").not_gsm == ""


def test_unicode_can_be_forced() -> None:
    counted = count_segments("a" * 71, unicode=True)
    assert (counted.encoding, counted.segments) == (UCS, 2)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_segments_hold_all_units(text: str) -> None:
    counted = count_segments(text)
    single, concatenated = {GSM: (160, 153), UCS: (70, 67)}[counted.encoding]
    if counted.segments == 1:
        assert counted.units <= single
    else:
        assert counted.units > single
        # At most one unit of each segment but the last is unused.
        assert counted.units <= counted.segments * concatenated
        assert counted.units > (counted.segments - 1) * (concatenated - 1)
