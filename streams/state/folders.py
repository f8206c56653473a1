"""Where a worker's stores are: in one folder for each topic that had the table's name.

A topic that was deleted and created again has another id, so the stores of the earlier one are in another
folder. They may have states that the new topic lacks, and are removed once those are joined into it
(`streams/state/earlier.py`). So is a store that was set aside, as it was beyond the end of its log.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import UUID


class StoreFolders:
    """The folders below a worker's state directory. Each store is a folder named after its partition."""

    def __init__(self, root: Path, topic_id: UUID | None) -> None:
        """Create the folder of the current topic, and move stores there that are of no known topic.

        Args:
            topic_id: None if it is unknown; then the stores are in `root` itself.
        """
        self._root = root
        self.current = root if topic_id is None else root / str(topic_id)
        self.current.mkdir(parents=True, exist_ok=True)
        if topic_id is not None:
            for store in list(_stores(root)):
                self._adopt(store)

    def earlier(self) -> list[Path]:
        """The stores that are not of the current topic, or were set aside."""
        folders = (path for path in self._root.iterdir() if path.is_dir() and not _is_store(path))
        return sorted(store for folder in folders if folder != self.current for store in _stores(folder))

    def set_aside(self, partition: int) -> None:
        """Move the partition's store, which must be closed, to the earlier ones."""
        store = self.current / str(partition)
        if not store.exists():  # states in memory
            return
        for number in count(1):
            target = self._root / f"beyond-log-end-{number}" / str(partition)
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                store.rename(target)
                return

    def remove(self, store: Path) -> None:
        """Remove an earlier store, and its folder with the last one."""
        shutil.rmtree(store)
        if not list(_stores(store.parent)):
            shutil.rmtree(store.parent)

    def _adopt(self, store: Path) -> None:
        target = self.current / store.name
        if target.exists():  # also a store of this topic, so one of them is enough
            shutil.rmtree(store)
        else:
            store.rename(target)


def _stores(folder: Path) -> Iterator[Path]:
    return filter(_is_store, folder.iterdir())


def _is_store(path: Path) -> bool:
    return path.name.isdecimal() and path.is_dir()
