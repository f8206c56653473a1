"""Makes a Kafka cluster that is kept between tests as good as new: no topics, no groups."""

from __future__ import annotations

import asyncio
import uuid

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.admin import DeleteGroupsRequest

from runtime.kafka.group_reader import remove_members

SECONDS = 60.0
POLL_INTERVAL = 0.02


async def wipe(address: str) -> None:
    """Delete all topics and consumer groups, those with members that were killed included."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        async with asyncio.timeout(SECONDS):
            await _wipe_groups(admin)
            await _wipe_topics(admin)
    finally:
        await admin.close()


async def _wipe_groups(admin: AIOKafkaAdminClient) -> None:
    """Delete all groups, once Kafka has loaded them; it creates their topic upon the first question."""
    while True:
        try:
            await admin.find_coordinator("any")
            while groups := [name for name, _ in await admin.list_consumer_groups()]:
                for group in groups:
                    await _wipe_group(admin, group)
            return
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
            await asyncio.sleep(POLL_INTERVAL)


async def _wipe_group(admin: AIOKafkaAdminClient, group: str) -> None:
    await remove_members(admin, group)
    await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))


async def _wipe_topics(admin: AIOKafkaAdminClient) -> None:
    """A broker learns of new topics a moment after their creation, in order: the last one is waited for."""
    last = f"wipe-{uuid.uuid4().hex}"
    await admin.create_topics([NewTopic(last, 1, 1)])
    while last not in await admin.list_topics():  # noqa: ASYNC110
        await asyncio.sleep(POLL_INTERVAL)
    while topics := [name for name in await admin.list_topics() if not name.startswith("__")]:
        await admin.delete_topics(topics)
