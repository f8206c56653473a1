"""The largest body that can be allowed fits; a record too large for Kafka waits, and nobody with it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from gateway.postback import SENT
from runtime.errors import InvalidSetting
from runtime.settings import load_settings
from tests.gateway.test_gateway import READY, sent
from tests.gateway.test_spool_sink import sent_messages
from tests.support.gateway import open_gateway, post, until
from tests.support.kafka import ApacheKafka
from tests.support.kafka_reset import wipe

LARGEST_BODY = 262_144


async def limit(kafka: str, size: int) -> None:
    """Somebody sets the most bytes of a batch that the topic takes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        config = {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, SENT, configs=config)])
    finally:
        await admin.close()


async def test_the_largest_body_that_can_be_allowed_makes_a_record_that_kafka_takes(
    apache_kafka: ApacheKafka,
) -> None:
    with pytest.raises(InvalidSetting):
        load_settings({"POSTBACKS_BODY_LIMIT": str(LARGEST_BODY + 1)})
    start = b"SMSSent=1&MessageID=9a35e913-ded0-7574-4642-5f60c550c706&x="
    hostile = start.ljust(LARGEST_BODY, b"\x01")  # kept as a body and as a field, six characters of JSON each
    await wipe(apache_kafka.address)
    with open_gateway(apache_kafka.address, partitions="1", body_limit=str(LARGEST_BODY)) as gateway:
        await until(200, gateway.ops, READY)
        assert (await post(gateway.address, hostile)).status == 200
    await wipe(apache_kafka.address)


async def test_what_is_too_large_for_kafka_waits_on_disk_and_holds_up_nobody(
    apache_kafka: ApacheKafka,
) -> None:
    kafka = apache_kafka.address
    await wipe(kafka)
    small, large = [str(uuid4()) for _ in range(60)], [str(uuid4()) for _ in range(2)]
    with open_gateway(kafka, partitions="1") as gateway:
        await until(200, gateway.ops, READY)
        await limit(kafka, 12_000)  # a few dozen of the small ones
        answers = await asyncio.gather(
            *(post(gateway.address, sent(message)) for message in small[:30]),
            *(post(gateway.address, sent(message, ReferenceID="x" * 20_000)) for message in large),
            *(post(gateway.address, sent(message)) for message in small[30:]),
        )
        assert [answer.status for answer in answers] == [200] * 30 + [202] * 2 + [200] * 30
        assert set(await sent_messages(kafka, 60, partitions=1)) == set(small)
        assert await gateway.metric("spool_records") == 2
        await until(200, gateway.ops, READY)
        await limit(kafka, 1_000_000)
        assert set(await sent_messages(kafka, 62, partitions=1)) == {*small, *large}
    await wipe(kafka)
