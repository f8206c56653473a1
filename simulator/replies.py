"""What people write to the number of a sender: words that the provider acts on, near misses, and the rest."""

from __future__ import annotations

#: Block all messages to the recipient.
STOP = (
    *("STOP", "stop", "Stop", "sToP", " Stop ", "STOP\n", "STOP.", "Stop!", "stop!!!", '"STOP"', "S.T.O.P."),
    *("Stop please", "please stop", "STOP ALL", "STOPALL", "stop all messages now", "STOP STOP STOP"),
    *(
        "\uff33\uff34\uff2f\uff30",
        "STOP 🛑",
        "END",
        "end",
        "Cancel",
        "CANCEL",
        "UNSUBSCRIBE",
        "unsubscribe",
        "Quit",
        "QUIT",
    ),
)
#: Near misses: they contain such a word, or almost.
NEAR_MISSES = (
    *("STPO", "Stpp", "STOOP", "st op", "SOTP", "St0p", "ST0P", "Unsubcribe", "cancle", "quite"),
    *("Don't stop", "I will stop by at 5", "Which bus stop?", "non-stop", "Stopped by already", "The end?"),
    *("Can I cancel tomorrow's appointment?", "weekend", "I quit smoking", "stopwatch"),
)
#: Allow messages again.
START = ("START", "start", "Start.", "UNSTOP", "Unstop", "RESUME", "resume", " Resume ")
OTHER = (
    "Yes",
    "no",
    "OK, danke schön",
    "5:30 & 2=1 + 42%",
    "Ack",
    "Who is this? 🤔",
    "HELP",
    "help",
    "?",
    "👍",
)
TEXTS = (*STOP, *NEAR_MISSES, *START, *OTHER)
