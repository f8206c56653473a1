"""The file that the data of an INSERT is gathered in: in memory where the system has that."""

from __future__ import annotations

import os
import sys
from tempfile import NamedTemporaryFile
from typing import IO

if sys.platform == "linux":

    def new_upload() -> IO[bytes]:
        """A file to write to; closing it lets go of what is in it."""
        return os.fdopen(os.memfd_create("insert"), "wb")

    def path_of(upload: IO[bytes]) -> str:
        """Where the engine can read it."""
        return f"/proc/self/fd/{upload.fileno()}"

else:

    def new_upload() -> IO[bytes]:
        return NamedTemporaryFile("wb")

    def path_of(upload: IO[bytes]) -> str:
        return str(upload.name)
