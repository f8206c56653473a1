"""The words that certainly opt out and in, and what the spellings of a word have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from unicodedata import normalize

#: Those of 47 CFR 64.1200(a)(12) and of the provider; OPT OUT and OPT-OUT are spellings of OPTOUT.
OPT_OUT_WORDS = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"})
OPT_IN_WORDS = frozenset({"start", "unstop", "resume"})
#: Opts in only with POSTBACKS_YES_OPTS_IN.
YES_WORDS = frozenset({"yes"})

#: Everything but letters and digits; Hangul's invisible letters and the marks among modifier letters, too.
SEPARATORS = re.compile("[\\W_\u02b9-\u02df\u02e5-\u02ff\u115f\u1160\u3164\uffa0]+")
_DOTLESS = str.maketrans("ı", "i")  # noqa: RUF001


def fold(text: str) -> str:
    """The text in lower case, of compatibility forms, with its accents as characters of their own."""
    if text.isascii():
        return text.lower()
    return normalize("NFKD", text).casefold().translate(_DOTLESS)


def letters_of(text: str) -> str:
    """The letters and digits of a text, folded and without accents."""
    return SEPARATORS.sub("", fold(text))


def accented_letters_of(text: str) -> str:
    """The same with accents, so that `résumé` is not the word `resume`."""
    return SEPARATORS.sub("", normalize("NFKC", normalize("NFKC", text).casefold()))


def consists_of(letters: str, words: Collection[str]) -> bool:
    """Whether these are the letters of one or more of the words, and no others."""
    ends = {0}
    for start in range(len(letters)):
        if start in ends:
            ends |= {start + len(word) for word in words if letters.startswith(word, start)}
    return len(letters) in ends and bool(letters)
