"""What `postbacks up` writes: the lines of all processes, and on a terminal a live line below them."""

from __future__ import annotations

from itertools import cycle
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

WIDTH = 10
COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_black")


class Screen:
    """A context; elsewhere than on a terminal it writes plain lines only."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._colours = cycle(COLOURS)
        self._colour_of: dict[str, str] = {}

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, name: str, line: str) -> None:
        """A line of one process."""
        colour = self._colour_of.setdefault(name, next(self._colours))
        prefix = Text(f"{name:<{WIDTH}} | ", style=colour)
        self._console.print(prefix + Text.from_ansi(line), soft_wrap=True)

    def page(self, text: str) -> None:
        """Several lines of our own, that people should see."""
        self._console.print(Text(text), soft_wrap=True)

    def now(self, text: str) -> None:
        """Replace the live line; elsewhere than on a terminal nothing."""
        if self._console.is_terminal:
            self._live.update(Text(text, style="bold", no_wrap=True, overflow="ellipsis"), refresh=True)
