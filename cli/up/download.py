"""Downloads the embedded Kafka before `postbacks up` starts it, and shows how far it is."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from embedded.kafka.jars import ensure_jars, version
from embedded.kafka.java import find_java
from runtime.settings import Settings


def download_kafka(settings: Settings, console: Console) -> None:
    """Return when Kafka is on this machine; on a terminal with a progress bar.

    Raises:
        CannotServe: Java or some jars are missing, and cannot be had.
    """
    find_java(settings.java)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"Apache Kafka {version()}", total=None, visible=False)
        ensure_jars(
            settings.cache_folder,
            lambda done, total: progress.update(task, completed=done, total=total, visible=True),
        )
