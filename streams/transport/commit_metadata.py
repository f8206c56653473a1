"""The metadata of the inputs' commits: the id of the topic that the effects were written to. Pure.

A committed offset means that everything before it is in `messages`. If that was deleted and created again, it
means nothing, and the inputs have to be read from their beginning.
"""

from __future__ import annotations

from uuid import UUID

PREFIX = "messages="


def commit_metadata(topic_id: UUID | None) -> str:
    """The metadata to commit with; empty if the id is unknown."""
    return "" if topic_id is None else f"{PREFIX}{topic_id}"


def is_outdated(committed: str, current: str) -> bool:
    """Whether offsets with the metadata `committed` belong to another topic than those with `current`.

    Offsets without an id are accepted: they are of an older version of this code, or were set with a tool.
    """
    return current != "" and committed.startswith(PREFIX) and committed != current
