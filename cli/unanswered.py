"""Tells that nothing answers at a PostBackURL: once when it is noticed, and at the end of the run."""

from __future__ import annotations

import click

from simulator.postback import SimulatedPostback


class Unanswered:
    """Observes posts to one address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._posts = 0
        self._answered = False

    def observe(self, _: SimulatedPostback, status: int | None) -> None:
        """Observe a post, and the status of its response (None: there was none)."""
        if not (self._posts or status):
            click.echo(f"Nothing answers at {self._address}; is a gateway running? Retrying", err=True)
        self._posts += 1
        self._answered = self._answered or status is not None

    def conclude(self) -> None:
        """Tell if there was no answer to any post."""
        if self._posts and not self._answered:
            click.echo(f"Nothing answered at {self._address}: none of {self._posts:,} posts", err=True)
