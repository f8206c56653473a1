"""`DATA/stack.env`: by which settings other commands find the stack that runs on a folder.

It is valid while `postbacks up` holds the folder; what a killed one left behind is ignored.
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
    """A port or folder that the stack needs is in use; names it and the option."""


@contextmanager
def lock_data_dir(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it against another `postbacks up` while the block runs.

    Raises:
        Occupied: another one holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise AddressInUse(f"{folder} cannot be used: {error.strerror}. Choose another with --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / FILE).unlink(missing_ok=True)  # a killed one left it
        yield
    except BlockingIOError:
        raise AddressInUse(f"Another `postbacks up` uses {folder}. Choose another with --data") from None
    finally:
        os.close(lock)


def write_stack_file(folder: Path, settings: Mapping[str, str]) -> None:
    """Write the settings (by their full names), readable for the folder's owner only."""
    part = folder / f"{FILE}.part"
    part.touch(mode=0o600)
    part.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    part.replace(folder / FILE)


def find_settings(data: Path | None = None) -> Settings:
    """The settings, with those of the stack that runs on the folder where the environment has no others.

    Args:
        data: the folder; None: that of POSTBACKS_DATA.

    Raises:
        BadSetting: as `load_settings`.
    """
    settings = load_settings()
    folder = data or settings.data
    if not _runs(folder):
        return settings
    found = dotenv_values(folder / FILE, interpolate=False)
    given = {PREFIX + field.upper() for field in settings.model_fields_set}
    of_stack = {name: value for name, value in found.items() if value and name not in given}
    return load_settings(of_stack | os.environ)


def _runs(folder: Path) -> bool:
    """Whether a `postbacks up` holds the folder now."""
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
