"""Reloads files of the running gateway when they change, or upon SIGHUP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from runtime.errors import InvalidSetting
from runtime.metrics import RELOAD_FAILURES
from runtime.process import wait_up_to

POLL_INTERVAL = 1.0

log = structlog.get_logger(__name__)


class FileWatcher:
    """Calls `load` once at the start, and again whenever the files have changed.

    A change counts once two polls in a row see the same, so that half-written files are not loaded.
    """

    def __init__(self, files: Sequence[Path], load: Callable[[], None]) -> None:
        """
        Args:
            load: reads the files. If it raises InvalidSetting, it must have changed nothing.

        Raises:
            InvalidSetting: from the first `load`.
        """
        self._files = files
        self._load = load
        self._loaded = self._seen = self._stamps()  # before reading: a change during it is loaded again
        load()

    def poll(self) -> None:
        """Reload if the files have changed and are stable."""
        previous, self._seen = self._seen, self._stamps()
        if previous == self._seen != self._loaded:
            self.reload()

    def reload(self) -> None:
        """Reload now. Invalid files are logged and ignored; the last good version stays."""
        self._loaded = self._seen = self._stamps()
        try:
            self._load()
        except InvalidSetting as error:
            RELOAD_FAILURES.inc()
            log.error("Reload failed, keeping the previous version", error=str(error))

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


async def watch_files(watchers: Sequence[FileWatcher], reload_requested: asyncio.Event) -> None:
    """Poll until cancelled. Reload all, and clear the event, when `reload_requested` is set."""
    while True:
        await wait_up_to(POLL_INTERVAL, reload_requested)
        for watcher in watchers:
            if reload_requested.is_set():
                watcher.reload()
            else:
                watcher.poll()
        reload_requested.clear()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
