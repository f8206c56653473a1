"""Files that may be replaced while the gateway runs: read again when they have changed, or upon SIGHUP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from runtime.errors import InvalidSetting
from runtime.metrics import RELOAD_FAILURES

POLL_INTERVAL = 1.0

log = structlog.get_logger(__name__)


class FileWatcher:
    """Something that is made of files. `load` is called at once, and again when they are others.

    A change counts once the files have looked the same twice: one that is being written is left alone.
    """

    def __init__(self, files: Sequence[Path], load: Callable[[], None]) -> None:
        """
        Raises:
            BadSetting: from `load`, which is then to leave all as it was.
        """
        self._files = files
        self._load = load
        self._loaded = self._seen = self._stamps()  # before reading: what changes meanwhile is read again
        load()

    def look(self) -> None:
        """Load, if the files have changed and rest."""
        before, self._seen = self._seen, self._stamps()
        if before == self._seen != self._loaded:
            self.load()

    def load(self) -> None:
        """Load now; files that cannot be meant change nothing, and are complained about."""
        self._loaded = self._seen = self._stamps()
        try:
            self._load()
        except InvalidSetting as why:
            RELOAD_FAILURES.inc()
            log.error("A changed file cannot be used; what was read before stays", why=str(why))

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


async def watch_files(reloaded: Sequence[FileWatcher], hang_up: asyncio.Event) -> None:
    """Look at the files again and again; load all of them when `hang_up` is set, which is then cleared."""
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(hang_up.wait(), POLL_INTERVAL)
        for one in reloaded:
            if hang_up.is_set():
                one.load()
            else:
                one.look()
        hang_up.clear()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
