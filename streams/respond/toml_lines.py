"""The lines at which the keys of a TOML document are. Pure.

tomllib tells no positions. But every statement of a document, a header or a key with its value, is a document
by itself: lines are gathered until they parse.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any, TypeAlias

#: The keys from the top: `("rule", 0, "name")`, `("own_numbers", "acme")`.
KeyPath: TypeAlias = tuple[str | int, ...]


class TomlLines:
    """Lines by key, of a valid document."""

    def __init__(self, text: str) -> None:
        self._lines: dict[KeyPath, int] = {}
        table: KeyPath = ()
        counts: dict[str, int] = {}
        for line, statement, parsed in _statements(text):
            (name,) = parsed
            if not statement.lstrip().startswith("["):
                self._lines[(*table, name)] = line
                continue
            table = (name,)
            if isinstance(parsed[name], list):
                table = name, counts.get(name, 0)
                counts[name] = counts.get(name, 0) + 1
            self._lines.setdefault(table, line)

    def line_of(self, *path: str | int) -> int:
        """The line of a key; if it has none of its own, of the nearest table around it, or 1."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each statement with its first line and what it says."""
    first, statement = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        first = first if statement else number
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            yield first, statement, parsed
        statement = ""
