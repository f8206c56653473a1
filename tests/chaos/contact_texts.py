"""Texts of responses, and what each says about being written to, by the rules of the provider and of the law.

Written down by hand, so that the check of a run does not ask the code that it checks.
"""

from __future__ import annotations

OPTED_OUT, SUSPECTED, OPTED_IN, YES = "opted_out", "suspected", "opted_in", "yes"

#: By what they say; empty: nothing.
TEXTS = {
    OPTED_OUT: ("STOP", "stop", " Stop! ", "S.T.O.P.", "STOP ALL", "Unsubscribe", "opt out", "END", "cancel"),
    SUSPECTED: ("please stop texting me", "stpo", "cancel please", "Leave me alone!", "wrong number"),
    OPTED_IN: ("START", "Start.", "unstop", "RESUME"),
    YES: ("YES", "Yes!", "Yes"),
    "": (
        "Ack",
        "no",
        "can we stop by at 5?",
        "HELP",
        "5:30 & 2=1 + 42%",
        "OK, danke schön",
        "Who is this? 🤔",
    ),
}
_SIGNALS = {text: signal for signal, texts in TEXTS.items() for text in texts}
#: The simulator splits long replies: the second part.
_CONTINUED = "… and this did not fit: "


def signal_of(text: str) -> str:
    """What a text says; empty: nothing.

    Raises:
        KeyError: a text that is not listed here.
    """
    first = text.removeprefix(_CONTINUED)
    signal = _SIGNALS[first]
    if text == first:
        return signal
    return SUSPECTED if first == "STOP" else ""
