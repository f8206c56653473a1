"""ClickHouse's words as they may be logged: without the rows that it quotes, which are people's. Pure."""

from __future__ import annotations

import re

MAX_LENGTH = 300

_QUOTE = re.compile(
    r"\s*(?:\bbefore: |\bnear |\bparsed text|\bColumn values|\bwhile (?:pars|read|convert)ing|:\s*[\"{'])"
)
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)")


def redact(words: str) -> str:
    """The words up to where a row begins to be quoted, at most MOST of them, and the error's name."""
    quote = _QUOTE.search(words)
    if not quote and len(words) <= MAX_LENGTH:
        return words
    kept = words[: min(quote.start() if quote else MAX_LENGTH, MAX_LENGTH)]
    name = _NAME.search(words, len(kept))
    return f"{kept}… {name[0]}" if name else f"{kept}…"
