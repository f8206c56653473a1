"""The output of `postbacks up`: the lines of all processes, and on a terminal a status line below them."""

from __future__ import annotations

from itertools import cycle

from rich.console import Console
from rich.live import Live
from rich.text import Text

#: The width of the processes' names.
WIDTH = 10
COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_black")


class Screen:
    """Use as a context. Without a terminal there is no status line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._colours = cycle(COLOURS)
        self._colour_of: dict[str, str] = {}

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def print_line(self, name: str, line: str) -> None:
        """Print a line of the process `name`."""
        colour = self._colour_of.setdefault(name, next(self._colours))
        prefix = Text(f"{name:<{WIDTH}} | ", style=colour)
        self._console.print(prefix + Text.from_ansi(line), soft_wrap=True)

    def print_page(self, text: str) -> None:
        """Print several lines without a prefix."""
        self._console.print(Text(text), soft_wrap=True)

    def update_status(self, text: str) -> None:
        """Replace the status line."""
        if self._console.is_terminal:
            self._live.update(Text(text, style="bold", no_wrap=True, overflow="ellipsis"), refresh=True)
