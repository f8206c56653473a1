"""Recognises texts that opt out or in. Pure.

Certain is a text with no other letters than those of words of opting out, or of opting in: in any case, with
any blanks, punctuation and symbols, in Unicode's compatibility forms, repeated. Accents make no difference to
opting out; to opting in they do (`résumé` is none), as it lifts an opt-out.

Suspected is every other text of which one of these is true (`streams/suspected.py`):

1. It has a strong word: STOP, STOPALL, UNSUBSCRIBE, REVOKE or OPTOUT (`please stop texting me`). But not if
   each STOP is a place or a visit: before `by` or `over`, after `bus`, `next` and the like.
2. It has a near miss of UNSUBSCRIBE.
3. Apart from fillers (`please`, `now`, `me` …) it has one word only, and that is another certain word
   (`cancel please`), a word of another language (`arrêt`, `alto`), or a near miss of a certain word.
4. It has a phrase by which people ask not to be written to (`leave me alone`), or say that they are not the
   person that is written to (`wrong number`).

A near miss has one letter more, fewer or other than the word, two neighbours swapped, or letters repeated
(`stpo`, `stoooop`), and is no common word (`shop`). END has none: too many words are like it.

In doubt a text is suspected: `I will stop at the store` is, `can we stop by at 5?` is not.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple
from unicodedata import is_normalized, normalize

from runtime.opt_words import (
    OPT_IN_WORDS,
    OPT_OUT_WORDS,
    SEPARATORS,
    YES_WORDS,
    accented_letters_of,
    consists_of,
    fold,
    letters_of,
)
from streams.contact_event import MAX_WORDS, Signal
from streams.suspected import is_suspected

#: Of ASCII: a letter or digit in lower case, an apostrophe left out, anything else a blank.
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)} | {ord("'"): None}
_APOSTROPHES = str.maketrans(dict.fromkeys("'’ʼ´`", ""))  # noqa: RUF001
#: Combining accents, variation selectors and characters without a width: they are within a word.
_WITHIN = re.compile("[\u00ad\u0300-\u036f\u200b-\u200f\u2060-\u2064\u20d0-\u20f0\ufe00-\ufe0f\ufeff]+")


class Recognition(NamedTuple):
    """What a text means, and its words as written: the first 160 characters."""

    signal: Signal
    words: str


class _Vocabulary(NamedTuple):
    opt_out: frozenset[str]
    #: Of opting out and in. What is certain begins with one of them.
    all: tuple[str, ...]


def recognise(text: str, words: Collection[str] = ()) -> Recognition | None:
    """Return what a text signals, or None for an ordinary text.

    `words` opt out, too, in all their spellings; they have letters, and none of them opts in.
    """
    vocabulary = _vocabulary(tuple(words))
    parts = text.translate(_ASCII).split() if text.isascii() else _parts(text)
    signal = _certain("".join(parts), text, vocabulary)
    if signal is None and not text.isascii() and not is_normalized("NFKC", text):
        # Symbols with letters in their compatibility forms may be padding (™), too, and not letters (Ⓢ).
        bare = SEPARATORS.sub("", normalize("NFC", text))
        signal = _certain(letters_of(bare), bare, vocabulary)
    if signal is None and is_suspected(parts, vocabulary.opt_out):
        signal = "suspected"
    return None if signal is None else Recognition(signal, text.strip()[:MAX_WORDS])


@lru_cache(maxsize=16)
def _vocabulary(words: tuple[str, ...]) -> _Vocabulary:
    opt_out = OPT_OUT_WORDS.union(filter(None, map(letters_of, words)))
    return _Vocabulary(opt_out, (*opt_out, *OPT_IN_WORDS, *YES_WORDS))


def _parts(text: str) -> list[str]:
    """The words of a text, like `letters_of`."""
    text = fold(text.translate(_APOSTROPHES))
    return SEPARATORS.sub(" ", _WITHIN.sub("", text)).split()


def _certain(letters: str, text: str, vocabulary: _Vocabulary) -> Signal | None:
    if not letters.startswith(vocabulary.all):  # most texts end here
        return None
    if consists_of(letters, vocabulary.opt_out):
        return "opted_out"
    signal: Signal
    for signal, words in (("opted_in", OPT_IN_WORDS), ("yes", YES_WORDS)):
        if consists_of(letters, words):
            return signal if accented_letters_of(text) == letters else None
    return None
