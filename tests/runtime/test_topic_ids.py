"""Kafka's topic ids tell a topic from another one that had its name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from runtime.kafka.topic_ids import topic_ids
from tests.support.kafka import create_other_topics, open_admin
from tests.support.wait import eventually

Unique = Callable[[str], str]


async def test_topic_created_again_has_another_id(kafka: str, unique: Unique) -> None:
    topic, other = unique("topic"), unique("other")

    async def created() -> object:
        await create_other_topics(kafka, topic)
        return await eventually(lambda: topic_ids(admin, [topic]), "its id", lambda ids: ids)

    async with open_admin(kafka) as admin:
        await create_other_topics(kafka, other)
        first = await created()
        assert await topic_ids(admin, [topic]) == first, "it stays the same"
        both = await eventually(
            lambda: topic_ids(admin, [topic, other]), "both ids", lambda ids: len(ids) == 2
        )
        assert len(set(both.values())) == 2
        await admin.delete_topics([topic])
        await eventually(lambda: topic_ids(admin, [topic]), "deleted", lambda ids: ids == {})
        assert await created() != first


async def test_asking_for_an_id_creates_no_topic(kafka: str, unique: Unique) -> None:
    topic = unique("topic")
    async with open_admin(kafka) as admin:
        assert await topic_ids(admin, [topic]) == {}
        assert topic not in await admin.list_topics()


async def test_broker_without_topic_ids_returns_none(
    kafka: str, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = unique("topic")
    await create_other_topics(kafka, topic)
    async with open_admin(kafka) as admin:
        await topic_ids(admin, [topic])
        negotiate_metadata(admin, (0, 11))
        assert await topic_ids(admin, [topic]) is None
        negotiate_metadata(admin, None)
        assert await topic_ids(admin, [topic]) is None


def negotiate_metadata(admin: AIOKafkaAdminClient, versions: tuple[int, int] | None) -> None:
    """Replace the versions of metadata that the brokers reported."""
    for connection in admin._client._conns.values():
        connection._versions = {**connection._versions, 3: versions}
        if versions is None:
            del connection._versions[3]
