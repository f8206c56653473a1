"""How operations report progress; the caller decides whether and how to show it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

#: Called with the number of items done since the last call.
Advance: TypeAlias = Callable[[int], None]


class Progress(Protocol):
    """Shows the steps of an operation."""

    def step(self, description: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Show a step while the block runs; `total` is its number of items, if known."""
