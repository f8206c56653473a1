"""The rows of a CSV file: each valid, with an identity that outlives a restart."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sending.rows import InvalidRows, RowDefaults, read_csv

DEFAULTS = RowDefaults()


def ids(*lines: str, defaults: RowDefaults = DEFAULTS) -> list[str]:
    return [row.id for row in read_csv((f"{line}\n" for line in lines), defaults)]


def problems(*lines: str) -> list[str]:
    with pytest.raises(InvalidRows) as error:
        read_csv((f"{line}\n" for line in lines), DEFAULTS)
    return error.value.problems


def test_all_columns_are_read() -> None:
    (row,) = read_csv(
        ["To,Text,From,Reference,At\n", '+1 757 544 9510,"Hi, you",74121,a-1,2026-11-28T12:00\n'], DEFAULTS
    )
    assert (row.line, row.sms.to_number, row.sms.text) == (2, "17575449510", "Hi, you")
    assert (row.sms.from_number, row.sms.reference_id) == ("74121", "a-1")
    assert row.sms.scheduled_for == datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_options_apply_to_rows_without_the_value() -> None:
    rows = read_csv(["to,from\n", "17575449510,\n", "17575449511,74121\n"], RowDefaults("Hi", "17575449512"))
    assert [(row.sms.text, row.sms.from_number) for row in rows] == [("Hi", "17575449512"), ("Hi", "74121")]


def test_row_without_reference_gets_its_own() -> None:
    rows = read_csv(["to,text\n", "17575449510,a\n", "17575449511,a\n"], DEFAULTS)
    assert [row.sms.reference_id for row in rows] == [f"send-{row.id}" for row in rows]
    assert rows[0].id != rows[1].id


def test_identity_survives_other_rows_and_other_spelling() -> None:
    before = ids("to,text", "17575449510,a", "17575449511,b")
    after = ids("text,to", "new,17575449512", "b,+1 (757) 544-9511", "a,1.757.544.9510")
    assert after[1:] == before[::-1]


@pytest.mark.parametrize(
    "changed", ["17575449519,a,,", "17575449510,b,,", "17575449510,a,r,", "17575449510,a,,2026-11-28T12:00Z"]
)
def test_changed_row_is_another_message(changed: str) -> None:
    assert ids("to,text,reference,at", "17575449510,a,,") != ids("to,text,reference,at", changed)


def test_same_message_twice_is_refused() -> None:
    assert problems("to,text", "17575449510,a", "17575449511,a", "1 757 544 9510,a") == [
        "line 4: the same message as line 2; to send both, give them references"
    ]


def test_every_problem_names_its_line() -> None:
    found = problems("to,text", "none,a", "17575449510,", "17575449511,a", "17575449512,a,b")
    assert [problem.partition(": ")[0] for problem in found] == ["line 2", "line 3", "line 5"]
    assert "to_number='none': must be a phone number" in found[0]
    assert "more values than columns" in found[2]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("to,txt", "line 1: there is no column 'txt'; allowed are to, text, from, reference, at"),
        ("to", "line 1: the column 'text' is missing"),
        ("text", "line 1: the column 'to' is missing"),
        ("to,text,to", "line 1: the column 'to' is repeated"),
        ("", "line 1: the column 'to' is missing"),
    ],
)
def test_header_is_checked(header: str, problem: str) -> None:
    assert problem in problems(header, "17575449510,a")


def test_invalid_csv_names_its_line() -> None:
    assert "line 3: not valid CSV" in problems("to,text", "17575449510,a", '17575449511,"a"b')[0]


def test_invalid_time_is_refused() -> None:
    (problem,) = problems("to,text,at", "17575449510,a,tomorrow")
    assert "at='tomorrow': must be a time such as 2026-11-28T12:00" in problem
