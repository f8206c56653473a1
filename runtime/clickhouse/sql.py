"""Quoting for SQL. Pure."""

from __future__ import annotations


def quote(text: str, mark: str = "'") -> str:
    """A string literal; with a backtick as the mark, an identifier."""
    return mark + text.replace("\\", "\\\\").replace(mark, f"\\{mark}") + mark
