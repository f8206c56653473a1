"""How every command of `postbacks` gets the settings: when it runs, so that --help needs none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from runtime.settings import Settings

#: Reads the settings of this process; raises BadSetting.
Load: TypeAlias = Callable[[], Settings]
