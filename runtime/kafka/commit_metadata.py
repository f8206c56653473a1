"""The metadata of commits: the id of the topic that a committed offset is about. Pure.

It is the consumed topic itself, or the one that the effects were written to. If that was deleted and created
again, the offset means nothing, and the input has to be read from its beginning.
"""

from __future__ import annotations

from uuid import UUID

PREFIX = "topic="


def commit_metadata(topic_id: UUID | None) -> str:
    """The metadata to commit with; empty if the id is unknown."""
    return "" if topic_id is None else f"{PREFIX}{topic_id}"


def is_outdated(committed: str, current: str) -> bool:
    """Whether offsets with the metadata `committed` belong to another topic than those with `current`.

    Offsets without an id are accepted: they are of an older version of this code, or were set with a tool.
    """
    return current != "" and committed.startswith(PREFIX) and committed != current
