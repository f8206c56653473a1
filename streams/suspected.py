"""Whether the words of a text may be an opt-out: the rule is in `streams/opt_out.py`. Pure.

Words are in lower case and without accents.
"""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache

from rapidfuzz.distance import OSA

from runtime.opt_words import OPT_OUT_WORDS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STRONG = _words("stop stopall unsubscribe unsubscribed unsub revoke optout")
#: After STOP as a visit, and before STOP as a place.
VISIT = _words("by over")
PLACE = _words("bus train truck rest pit first next last full non")

FILLERS = _words(
    "a all already and any asap for forever from getting hey hi i immediately it just me message messages "
    "messaging more msg msgs my need no now ok please pls plz sending sms sorry text texting texts thank "
    "thanks that the them these this those to txt txts us want with you your "
    "bitte de favor gracias merci per por svp"
)
#: Of Spanish, Portuguese, French, Italian, German, Dutch, the Nordic languages, Russian, and Chinese.
OTHER_LANGUAGES = _words(
    "alto basta baja cancela cancelar cancele desuscribir detener detenga detente fin para parar pare paren "
    "salir termina terminar chega parem sair arret arrete arreter arretez desabonner "
    "desinscrire desinscription annuler stopper annulla ferma fermati "
    "abbestellen abmelden aufhoren halt stopp stoppen afmelden "
    "стоп отписаться хватит 停止 停 退订 取消"
)

#: Of four letters or more: shorter ones are like too many words.
NEARLY = tuple(sorted(word for word in OPT_OUT_WORDS if len(word) >= 4))
MAX_NEARLY = 24
COMMON = _words(
    "atop shop slop sop step stomp stoop stow strop top "  # STOP
    "quid quiet quilt quip quite suit cancer chancel evoke"
)
_REPEATED = re.compile(r"(.)\1+")

_SEND = r"(?:text|txt|sms|messag|msg|contact|sending|writing|(?:send|write) (?:me|us|any|more))"
#: The first words of phrases, and what follows.
_PHRASES = (
    ("opt opted opting", r"(?:me |us |my number )?out\b"),
    ("remove delete unlist", r"(?:me|us|my (?:name|number|phone)|this number)\b"),
    ("take get", r"(?:me|us|my (?:name|number)|this number) (?:off|out)\b"),
    ("off", r"(?:of )?(?:your|this|the) (?:mailing )?list\b"),
    ("dont never quit cancel end cease", rf"(?:ever )?{_SEND}"),
    ("do", rf"not (?:ever )?{_SEND}"),
    ("no", rf"more {_SEND}"),
    ("leave", r"(?:me|us) alone\b"),
    ("lose forget", r"(?:my|this) number\b"),
    ("wrong", r"(?:number|person)\b"),
    ("go", r"away\b"),
    ("no", r"(?:mas|quiero)\b"),
    ("ya", r"no\b"),
    ("ne", r"plus\b"),
    ("plus", r"de (?:sms|messages)\b"),
    ("keine", r"(?:sms|nachrichten)\b"),
)
#: Words of a phrase after the first, at most.
MAX_FOLLOWING = 4


def _phrases() -> dict[str, re.Pattern[str]]:
    following: dict[str, list[str]] = {}
    for first, pattern in _PHRASES:
        for word in first.split():
            following.setdefault(word, []).append(pattern)
    return {word: re.compile("|".join(patterns)) for word, patterns in following.items()}


PHRASES = _phrases()


def is_suspected(words: list[str], certain: Set[str]) -> bool:
    """Whether the words of a text, which is not certain, may be an opt-out."""
    distinct = {*words}
    if not STRONG.isdisjoint(distinct) and _has_strong(words):
        return True
    rest = distinct - FILLERS
    if len(rest) == 1:
        (word,) = rest
        if word != "stop" and (word in certain or word in OTHER_LANGUAGES or _is_near(word, NEARLY)):
            return True
    if rest and len(longest := max(rest, key=len)) > 9 and _is_near(longest, ("unsubscribe",)):
        return True
    return not PHRASES.keys().isdisjoint(distinct) and _has_phrase(words)


def _has_strong(words: list[str]) -> bool:
    around = ["", *words, ""]
    return any(
        word in STRONG and not (word == "stop" and (around[index] in PLACE or around[index + 2] in VISIT))
        for index, word in enumerate(words)
    )


def _has_phrase(words: list[str]) -> bool:
    return any(
        word in PHRASES and PHRASES[word].match(" ".join(words[index : index + MAX_FOLLOWING]))
        for index, word in enumerate(words, 1)
    )


def _is_near(word: str, targets: tuple[str, ...]) -> bool:
    return len(word) <= MAX_NEARLY and _is_near_cached(word, targets)


@lru_cache(maxsize=4096)
def _is_near_cached(word: str, targets: tuple[str, ...]) -> bool:
    once = _REPEATED.sub(r"\1", word)
    if word in COMMON or once in COMMON:
        return False
    return any(
        OSA.distance(spelling, target, score_cutoff=1) <= 1 for spelling in (word, once) for target in targets
    )
