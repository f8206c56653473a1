"""Database and settings of an engine connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runtime.clickhouse.sql import quote


def use_database(connection: Any, database: str) -> None:
    """Switch to a database; an empty name leaves the current one."""
    if database:
        connection.query(f"USE {quote(database, '`')}", "Null")


def apply_settings(connection: Any, settings: Mapping[str, str]) -> None:
    """Apply settings for the rest of the connection."""
    if settings:
        connection.query("SET " + ", ".join(f"{k}={quote(v)}" for k, v in settings.items()), "Null")


@contextmanager
def temporary_settings(connection: Any, settings: Mapping[str, str]) -> Iterator[None]:
    """Apply a request's settings for the block, then restore those of its session."""
    if not settings:
        yield
        return
    names = ", ".join(quote(name) for name in settings)
    changed = connection.query(
        f"SELECT name, value FROM system.settings WHERE changed AND name IN ({names})", "JSONCompact"
    )
    previous = {name: quote(value) for name, value in json.loads(changed.bytes())["data"]}
    apply_settings(connection, settings)
    try:
        yield
    finally:
        restored = (f"{name}={previous.get(name, 'DEFAULT')}" for name in settings)
        connection.query("SET " + ", ".join(restored), "Null")
