"""What is set on a connection of the engine before a statement, and put back after it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from embedded.clickhouse.statements import quoted


def use(connection: Any, database: str) -> None:
    """Make it the current database; none is named: leave it."""
    if database:
        name = database.replace("\\", "\\\\").replace("`", "\\`")
        connection.query(f"USE `{name}`", "Null")


def set_all(connection: Any, settings: Mapping[str, str]) -> None:
    """Set them until the connection's end."""
    if settings:
        connection.query("SET " + ", ".join(f"{k}={quoted(v)}" for k, v in settings.items()), "Null")


@contextmanager
def settings_for_now(connection: Any, settings: Mapping[str, str]) -> Iterator[None]:
    """Settings of one request in a session: afterwards the session's own are back."""
    if not settings:
        yield
        return
    names = ", ".join(quoted(name) for name in settings)
    changed = connection.query(
        f"SELECT name, value FROM system.settings WHERE changed AND name IN ({names})", "JSONCompact"
    )
    before = {name: quoted(value) for name, value in json.loads(changed.bytes())["data"]}
    set_all(connection, settings)
    try:
        yield
    finally:
        after = (f"{name}={before.get(name, 'DEFAULT')}" for name in settings)
        connection.query("SET " + ", ".join(after), "Null")
