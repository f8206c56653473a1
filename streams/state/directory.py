"""The directory of the local stores: one for each cluster."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote

import structlog

log = structlog.get_logger(__name__)


def state_directory(root: Path, cluster: str) -> Path:
    """Create the cluster's directory below `root`.

    Removes those of other clusters: their offsets mean nothing here, and their states are in their topics.
    """
    directory = root / quote(cluster, safe="")
    directory.mkdir(parents=True, exist_ok=True)
    for other in root.iterdir():
        if other != directory and other.is_dir():
            log.warning("Removing states of another cluster", directory=str(other))
            shutil.rmtree(other, ignore_errors=True)
    return directory
