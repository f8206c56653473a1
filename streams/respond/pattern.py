"""Patterns of rules: regular expressions that take linear time, whatever people write. Pure."""

from __future__ import annotations

from typing import Protocol

import re2


class Pattern(Protocol):
    """A compiled pattern."""

    @property
    def pattern(self) -> str:
        """Its text."""

    def search(self, text: str) -> object | None:
        """Return the first match; None if there is none."""


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern of RE2, which ignores the case of letters.

    Raises:
        ValueError: RE2 does not know it, as it has no look-around and no back-references.
    """
    options = re2.Options()
    options.case_sensitive = options.log_errors = False
    try:
        pattern: Pattern = re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise ValueError(f"must be a regular expression of RE2 ({reason})") from None
    return pattern
