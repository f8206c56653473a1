# ruff: noqa: RUF001
"""Opt-outs are recognised in any spelling, and ordinary replies are none."""

from __future__ import annotations

import re
from collections import defaultdict
from unicodedata import category, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.opt_words import OPT_OUT_WORDS, letters_of
from streams.contact_event import SEVERITY
from streams.opt_out import Recognition, recognise
from streams.suspected import COMMON, NEARLY


def texts(lines: str) -> list[str]:
    return [text for line in lines.strip().splitlines() for text in line.split(" | ")]


CERTAIN = texts("STOP | STOPALL | UNSUBSCRIBE | CANCEL | END | QUIT | REVOKE | OPTOUT | OPT OUT | OPT-OUT")
SPELLINGS = """
stop | Stop. | "STOP!!!" | STOP STOP | stopstop | Stop. End | s t o p | S.T.O.P. | STOP 🛑 | 🇺🇸 STOP | STOP™
stop all | Stop-All | un-subscribe | opt_out | [optout] | st\u200bop | sto\u00adp | \ufeffSTOP\ufe0f
STOP\u3164 | \u115fSTOP\u1160 | ＳＴＯＰ | 𝐒𝐓𝐎𝐏 | ⓈⓉⓄⓅ | 🅂🅃🄾🄿 | ⒮⒯⒪⒫ | ﬆop | ſtop | QUİT | quıt | STÓP
Re\u0301voke | S\u0336T\u0336O\u0336P\u0336
"""
LIKELY = """
stop please | please stop texting me | STOP sending me this!! | I revoke my consent | Just STOP already
unsubscribe me | please unsuscribe me from this list | STOP or I will stop by your office
stpo | sotp | stoopp | ST0P | STOOOOP | stopp | stip pls | unsubcribe | cancle | quiit | revok
arrêt | ARRET SVP | arre\u0302t | alto | ¡Alto! | parar | basta | detener por favor | стоп | 退订
cancel please | please end this | I quit | the end | I will stop at the store
remove me | Please remove my number | take me off your list | opt me out | opting out | no más
do not text | don't text me again | Don’t ever contact me | never message this number | no more texts
leave me alone | lose my number | Wrong number | you have the wrong person | go away
"""
ORDINARY = """
? | 👍 | ❤️ | ok | Yes please | no | Ack | thx! | C | 1 | Confirm | see you then | starting at 5
ok thanks, see you at the end of the day | can we stop by at 5? | Could I stop over tomorrow?
Get off at the next stop | is it at the bus stop? | non-stop flight | end of the month | by the weekend
Can I cancel my appointment? | I need to cancel for tomorrow | I quit smoking last year | keep it quiet
shop | step 2 | top | quite | cancer | We are at the end | Take me to the airport | get me the off-white
do you text? | I'll send it | don't forget the cake | That’s great 👍 see you | wrong size | let's go
à bientôt | ¿a qué hora? | gracias | danke, bis morgen | オッケー
"""


def signal(text: str, *words: str) -> str | None:
    found = recognise(text, words)
    return found.signal if found else None


def folded(character: str) -> str:
    return normalize("NFKC", normalize("NFKC", character).casefold())


#: The planes that have letters, punctuation and symbols, and that of the tags and variation selectors.
CHARACTERS = [chr(code) for code in (*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE01F0))]
#: By letter, the characters that are compatible with it, in any case: without symbols, and with them.
LETTERS: dict[bool, dict[str, list[str]]] = {False: defaultdict(list), True: defaultdict(list)}
#: What may surround a word: characters without a letter in any form, and those with such as `™`, too.
PADDING: dict[bool, list[str]] = {False: [], True: []}
for character in CHARACTERS:
    kind, plain = category(character), folded(character)
    if re.fullmatch("[a-z]", plain):
        LETTERS[True][plain].append(character)
        if kind[0] != "S":
            LETTERS[False][plain].append(character)
    if kind[0] in "PSZM" or kind in ("Cc", "Cf"):
        PADDING[True].append(character)
        if not any(map(str.isalnum, plain)):
            PADDING[False].append(character)

FORMS = {
    symbols: {letter: st.sampled_from(forms) for letter, forms in letters.items()}
    for symbols, letters in LETTERS.items()
}
PADS = {symbols: st.text(st.sampled_from(characters), max_size=4) for symbols, characters in PADDING.items()}


@st.composite
def spelled(draw: st.DrawFn, words: list[str]) -> str:
    """A word in any spelling: its letters in any form, and padding around it and between its parts."""
    symbols = draw(st.booleans())
    pad = PADS[not symbols]

    def spell(letter: str) -> str:
        return draw(FORMS[symbols][letter] if letter.isalpha() else pad)

    one = draw(st.sampled_from(words)).lower()
    written = ["".join(map(spell, one)) for _ in range(draw(st.integers(1, 3)))]
    return draw(pad) + "".join(part + draw(pad) for part in written)


any_text = st.one_of(st.text(), st.sampled_from(texts(LIKELY)), spelled(CERTAIN))


# -- certain


@pytest.mark.parametrize("text", [*CERTAIN, *texts(SPELLINGS), " stop\r\n", "STOP\x00", "STOP" * 400])
def test_certain_word_opts_out_in_any_spelling(text: str) -> None:
    assert signal(text) == "opted_out"


@given(spelled(CERTAIN))
def test_no_spelling_of_certain_words_is_missed(text: str) -> None:
    assert signal(text) == "opted_out"


@given(spelled(["FIN", "no mas", "ARRET"]))
def test_no_spelling_of_set_words_is_missed(text: str) -> None:
    assert signal(text, "Fin", "no más!", "arrêt") == "opted_out"


@given(
    st.sampled_from(CERTAIN),
    st.sampled_from((str.lower, str.upper, str.title, str.swapcase)),
    st.text(" .,;:!?-*'\"()\n\t"),
)
def test_ascii_spellings_are_certain(word: str, case: object, pad: str) -> None:
    assert callable(case)
    assert signal(pad + case(word) + pad) == "opted_out"


@given(st.lists(st.sampled_from([*CERTAIN, "FIN"]), min_size=1))
def test_any_sequence_of_certain_words_is_certain(words: list[str]) -> None:
    assert signal(" ".join(words), "FIN") == signal("".join(words), "FIN") == "opted_out"


@given(
    any_text,
    st.lists(st.text(min_size=1).filter(letters_of), max_size=3),
)
def test_set_words_make_no_text_less_severe(text: str, words: list[str]) -> None:
    before, after = signal(text), signal(text, *words)
    if before in ("suspected", "opted_out"):
        assert after in ("opted_out", before)


@pytest.mark.parametrize("word", sorted(OPT_OUT_WORDS))
@pytest.mark.parametrize("other", ["START", "yes", "please", "fin"])
def test_beside_other_words_opt_out_is_suspected(word: str, other: str) -> None:
    expected = None if word in ("end", "cancel", "quit") and other != "please" else "suspected"
    assert signal(f"{word} {other}") == signal(f"{other}, {word}!") == expected


# -- in again


@pytest.mark.parametrize(
    "text", ["START", "start.", "Unstop", "RESUME!", "start start", "ＳＴＡＲＴ", "🙂 START"]
)
def test_words_of_opting_in_opt_in(text: str) -> None:
    assert signal(text) == "opted_in"


@pytest.mark.parametrize("text", ["YES", "yes!", "Yes yes", "ｙｅｓ"])
def test_yes_is_a_signal_of_its_own(text: str) -> None:
    assert signal(text) == "yes"


@pytest.mark.parametrize(
    "text", ["résumé", "re\u0301sume\u0301", "start now", "strat", "yes please", "yes start", "restart"]
)
def test_nothing_opts_in_by_likeness(text: str) -> None:
    assert signal(text) is None


def test_severities_are_in_order_of_the_contract() -> None:
    assert sorted(SEVERITY, key=SEVERITY.__getitem__) == ["opted_in", "yes", "suspected", "opted_out"]


# -- suspected


@pytest.mark.parametrize("text", texts(LIKELY))
def test_likely_opt_out_is_suspected(text: str) -> None:
    assert signal(text) == "suspected"


@pytest.mark.parametrize("word", NEARLY)
def test_single_slip_in_certain_word_is_suspected(word: str) -> None:
    for index in range(len(word) - 1):
        swapped = word[:index] + word[index + 1] + word[index] + word[index + 2 :]
        for slip in (word[:index] + word[index + 1 :], word[:index] + "x" + word[index + 1 :], swapped):
            if slip not in COMMON and slip != word:
                assert signal(slip) in ("suspected", "opted_out"), slip


@pytest.mark.parametrize("text", ["", " ", "x" * 5_000, *texts(ORDINARY)])
def test_ordinary_reply_is_no_signal(text: str) -> None:
    assert signal(text) is None


@given(any_text)
def test_any_text_is_recognised_or_not(text: str) -> None:
    found = recognise(text)
    assert found is None or (found.signal in SEVERITY and len(found.words) <= 160)


def test_words_are_told_as_written() -> None:
    assert recognise("  Stop!\n") == Recognition("opted_out", "Stop!")
    long = recognise("please stop " + "x" * 500)
    assert long is not None
    assert len(long.words) == 160


def test_letters_are_all_that_spellings_share() -> None:
    assert letters_of("Ópt—ＯＵＴ!") == letters_of("opt out") == "optout"
