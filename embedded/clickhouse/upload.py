"""The temporary file for the data of an INSERT: in memory on Linux."""

from __future__ import annotations

import os
import sys
from tempfile import NamedTemporaryFile
from typing import IO

if sys.platform == "linux":

    def new_upload() -> IO[bytes]:
        """Open a file for writing, which is deleted when closed."""
        return os.fdopen(os.memfd_create("insert"), "wb")

    def path_of(upload: IO[bytes]) -> str:
        """Return the path under which the engine can read the file."""
        return f"/proc/self/fd/{upload.fileno()}"

else:

    def new_upload() -> IO[bytes]:
        return NamedTemporaryFile("wb")

    def path_of(upload: IO[bytes]) -> str:
        return str(upload.name)
