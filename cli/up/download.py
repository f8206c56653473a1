"""Downloads the embedded Kafka before `postbacks up` starts it, with a progress bar."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from embedded.kafka.installation import ensure_jars, find_java, version


def download_kafka(java: Path | None, cache: Path, console: Console) -> None:
    """Download what is missing of Kafka. Blocks; shows a progress bar on a terminal.

    Args:
        java: the setting `java`.
        cache: the folder to download to.

    Raises:
        StartupError: Java is missing, or a jar is missing and cannot be downloaded.
    """
    find_java(java)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"Apache Kafka {version()}", total=None, visible=False)
        ensure_jars(
            cache, lambda done, total: progress.update(task, completed=done, total=total, visible=True)
        )
