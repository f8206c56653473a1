"""How operations report progress; who shows it, and how, is their caller's business."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

#: Called with how much more is done.
Done: TypeAlias = Callable[[int], None]


class Progress(Protocol):
    """Shows steps of work."""

    def step(self, what: str, total: int | None = None) -> AbstractContextManager[Done]:
        """Show a step while the block runs; `total` where it is known."""
