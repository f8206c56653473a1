"""The intent log on disk: what was about to be sent, and what became of it.

It is append-only, with one JSON object a line. An append returns after it is synced; those that are made
meanwhile share the next sync. One process at a time may use a log.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from runtime.errors import StartupError
from sending.intents import DamagedLog, IntentRecord, IntentState, encode_record, read_intents


class IntentLogUnusable(StartupError):
    """The log cannot be opened, is damaged or in use; the text names it and says what to do."""


class IntentLog:
    """Use as a context, around the event loop: writes run in threads, which may outlive a cancelled task.

    It has phone numbers and texts, so only its owner may read it.
    """

    def __init__(self, path: Path) -> None:
        """Open, lock and read a log; create it if there is none.

        Raises:
            IntentLogUnusable: it cannot be opened, is damaged, or another process uses it.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise IntentLogUnusable(f"{path} cannot be used: {error.strerror}") from None
        try:
            self._lock()
            with open(self._file, "rb", closefd=False) as lines:
                self.state, length = read_intents(lines)
            os.ftruncate(self._file, length)
            _sync_folder(path.parent)
        except BaseException as error:
            os.close(self._file)
            if isinstance(error, DamagedLog):
                raise IntentLogUnusable(
                    f"{path}: {error}. Without the log it is not known what was sent: restore it, or "
                    "check with the provider before you move it away"
                ) from None
            raise
        self._buffer = bytearray()
        self._waiting: list[asyncio.Future[None]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    async def append(self, record: IntentRecord) -> None:
        """Append a record, and apply it to the state once it is synced.

        Raises:
            OSError: it is not known to be on disk; nor will be anything that is appended later.
        """
        if self._error:
            raise self._error
        synced = asyncio.get_running_loop().create_future()
        self._buffer += encode_record(record) + b"\n"
        self._waiting.append(synced)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await synced
        self.state.apply(record)

    def remove(self) -> None:
        """Delete the file; the process keeps its lock until the end of the context."""
        self.path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        while self._waiting:
            data, waiting = bytes(self._buffer), self._waiting
            self._buffer.clear()
            self._waiting = []
            try:
                if self._error:
                    raise self._error
                await asyncio.to_thread(self._write, data)
            except OSError as error:  # a part may be written: what follows would be appended to half a line
                self._error = error
            for synced in waiting:
                if synced.done():  # its caller was cancelled
                    continue
                if self._error:
                    synced.set_exception(self._error)
                else:
                    synced.set_result(None)
        self._flushing = None

    def _write(self, data: bytes) -> None:
        remaining = memoryview(data)
        while remaining:
            remaining = remaining[os.write(self._file, remaining) :]
        os.fsync(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_current = os.path.samestat(os.fstat(self._file), self.path.stat())
        except (BlockingIOError, FileNotFoundError):
            is_current = False
        if not is_current:  # or its last user has just removed it
            raise IntentLogUnusable(f"{self.path} is in use by another `postbacks send`; wait for its end")


def read_log(path: Path) -> IntentState:
    """Read a log without locking it; an empty state if there is none.

    Raises:
        IntentLogUnusable: it cannot be read, or is damaged.
    """
    with suppress(FileNotFoundError):
        try:
            with path.open("rb") as lines:
                return read_intents(lines)[0]
        except DamagedLog as error:
            raise IntentLogUnusable(f"{path}: {error}") from None
        except PermissionError as error:
            raise IntentLogUnusable(f"{path} cannot be read: {error.strerror}") from None
    return IntentState()


def _sync_folder(folder: Path) -> None:
    """Make the file's existence durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
