"""What people read of a message."""

from __future__ import annotations

from functools import reduce

from gateway.postback import AnyPostback
from operations.timeline import STATUS_COLOUR, STATUS_MEANS, entries, printable, render
from streams.message import STATUSES, Message, merge
from tests.support.postbacks import MESSAGE, at, receipt, reply, sent


def message(*postbacks: AnyPostback) -> Message:
    state = reduce(merge, postbacks, None)
    assert state is not None
    return state


def page(state: Message) -> str:
    return "\n".join(line.plain for line in render(state))


def test_everything_is_told_in_the_order_in_which_we_heard_of_it() -> None:
    state = message(
        receipt("r2", 9, code="000"),
        reply(second=60, text="Ak"),
        sent(second=0),
        receipt("r1", 5, code="003"),
    )
    assert [entry.what for entry in entries(state)] == ["sent", "receipt 003", "receipt 000", "reply"]
    assert [entry.at for entry in entries(state)] == [at(0), at(5), at(9), at(60)]


def test_a_code_is_told_with_its_name_and_what_it_means() -> None:
    text = page(message(sent(), receipt(code="091", second=1), receipt("r2", 2, code="777")))
    assert "receipt 091 InvalidRouting (failed)" in " ".join(text.split())
    assert "receipt 777 a code that nobody lists" in " ".join(text.split())


def test_the_carriers_own_words_stand_beside_the_code() -> None:
    words = (
        "sm: msg: id:18579674100201040 sub:001 dlvrd:001 submit date:1209281334 done date:1209281334 "
        "stat:DELIVERED TO CARRIER err:003 text:"
    )
    (entry,) = entries(message(receipt(text=words)))
    assert entry.detail == (
        "DeliveredToCarrier (on its way); stat DELIVERED TO CARRIER; err 003; "
        "submit date 1209281334; done date 1209281334"
    )


def test_refusals_are_counted_up_to_the_providers_last() -> None:
    state = message(*(sent(f"s{n}", n, ok=False) for n in range(3)))
    assert [entry.what for entry in entries(state)] == ["refused"] * 3
    assert "time 3 of 3" in entries(state)[-1].detail
    assert "cancelled" in render(state)[0].plain


def test_the_providers_clock_stands_beside_ours() -> None:
    (entry,) = entries(message(sent(occurred_at="2010-05-08T02:42:36.000Z")))
    assert entry.detail == "handed to the carrier's side; by the provider's clock 2010-05-08 02:42:36.000"


def test_the_backup_message_is_named_where_it_was_announced_and_above() -> None:
    backup = "f880e00b-3a14-484c-80e7-ca6aa29a2f7a"
    state = message(sent(), receipt(code="091", second=1, backup_message_id=backup))
    assert f"sent again as {backup}" in entries(state)[1].detail
    assert f"backup      {backup}" in page(state)


def test_a_missed_receipt_is_part_of_the_story() -> None:
    state = message(sent(from_number="74121"))
    state.overdue_at = at(72 * 3600)
    assert [entry.what for entry in entries(state)] == ["sent", "overdue"]
    assert "+3.0 days" in page(state)


def test_numbers_and_reference_are_shown_in_full() -> None:
    text = page(message(sent(from_number="17575449510", to_number="17575449511", reference_id="12345")))
    for value in ("17575449510", "17575449511", "12345", MESSAGE, "acme"):
        assert value in text


def test_an_inbound_message_tells_who_wrote_what() -> None:
    state = message(reply(matched=False, from_number="17575449511", text="Hello"))
    (entry,) = entries(state)
    assert (entry.what, entry.detail) == ("received", "“Hello” from 17575449511")


def test_a_reply_comes_from_the_number_that_was_written_to() -> None:
    state = message(sent(to_number="17575449511"), reply(second=1, text="Ak", from_number="17575449511"))
    assert entries(state)[1].detail == "“Ak” from 17575449511"


def test_a_stranger_cannot_write_to_the_terminal() -> None:
    text = page(message(reply(text="\x1b[2J\x07\rnice\n\u202etry", reference_id="a\x1b[31m")))
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)
    assert "\\x1b[2J" in text


def test_what_can_be_shown_is_shown_as_it_is() -> None:
    assert printable("Grüße, 你好 👍") == "Grüße, 你好 👍"


def test_every_status_has_its_meaning_and_colour() -> None:
    assert set(STATUS_MEANS) == set(STATUS_COLOUR) == set(STATUSES)
