"""`DATA/stack.env`: the settings with which other commands find the stack that runs on a folder.

It is valid while `postbacks up` holds the folder's lock. A file left by a stack that was killed is ignored.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values

from runtime.errors import StartupError
from runtime.settings import PREFIX, Settings, load_settings

LOCK, FILE = "up.lock", "stack.env"


class AddressInUse(StartupError):
    """A port or folder that the stack needs is in use; the message names it and the option to change it."""


@contextmanager
def lock_data_dir(folder: Path) -> Iterator[None]:
    """Create the folder, and lock it against another `postbacks up` while the block runs.

    Raises:
        AddressInUse: another one has the lock, or the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise AddressInUse(f"{folder} cannot be used: {error.strerror}. Choose another with --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / FILE).unlink(missing_ok=True)  # left by a stack that was killed
        yield
    except BlockingIOError:
        raise AddressInUse(f"Another `postbacks up` uses {folder}. Choose another with --data") from None
    finally:
        os.close(lock)


def write_stack_file(folder: Path, settings: Mapping[str, str]) -> None:
    """Write the settings (by their full names) atomically, readable by the folder's owner only."""
    part = folder / f"{FILE}.part"
    part.touch(mode=0o600)
    part.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    part.replace(folder / FILE)


def find_settings(data: Path | None = None) -> Settings:
    """The settings; where the environment sets none, those of the stack that runs on the folder.

    Args:
        data: the folder; None: that of POSTBACKS_DATA.

    Raises:
        InvalidSetting: as `load_settings`.
    """
    settings = load_settings()
    folder = data or settings.data
    if not _is_running(folder):
        return settings
    found = dotenv_values(folder / FILE, interpolate=False)
    set_by_user = {PREFIX + field.upper() for field in settings.model_fields_set}
    from_stack = {name: value for name, value in found.items() if value and name not in set_by_user}
    return load_settings(from_stack | os.environ)


def _is_running(folder: Path) -> bool:
    """Whether a `postbacks up` holds the folder's lock and has written the file."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (folder / FILE).is_file()
    finally:
        os.close(lock)
    return False
