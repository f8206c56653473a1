"""Size limits: the largest allowed body fits into a record; a record too large for Kafka blocks no other."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from gateway.postback import SENT
from runtime.errors import InvalidSetting
from runtime.settings import load_settings
from tests.support.gateway import open_gateway, post, sent_form
from tests.support.kafka import ApacheKafka, set_topic_config, wipe
from tests.support.spool import sent_message_ids

LARGEST_BODY = 262_144


async def set_max_message_bytes(kafka: str, size: int) -> None:
    """Limit the size of a batch in the topic."""
    await set_topic_config(kafka, SENT, {"max.message.bytes": str(size)})


async def test_largest_allowed_body_fits_into_a_record(apache_kafka: ApacheKafka) -> None:
    with pytest.raises(InvalidSetting):
        load_settings({"POSTBACKS_BODY_LIMIT": str(LARGEST_BODY + 1)})
    start = b"SMSSent=1&MessageID=9a35e913-ded0-7574-4642-5f60c550c706&x="
    hostile = start.ljust(LARGEST_BODY, b"\x01")  # stored as body and as field; each byte takes six in JSON
    await wipe(apache_kafka.address)
    with open_gateway(
        apache_kafka.address, partitions=1, body_limit=LARGEST_BODY, compression="none"
    ) as gateway:
        await gateway.wait_ready()
        assert (await post(gateway.address, hostile)).status == 200
    await wipe(apache_kafka.address)


async def test_oversized_record_stays_spooled_and_blocks_no_other(apache_kafka: ApacheKafka) -> None:
    kafka = apache_kafka.address
    await wipe(kafka)
    small, large = [str(uuid4()) for _ in range(60)], [str(uuid4()) for _ in range(2)]
    with open_gateway(kafka, partitions=1, compression="none") as gateway:
        await gateway.wait_ready()
        await set_max_message_bytes(kafka, 12_000)  # a few dozen of the small ones
        responses = await asyncio.gather(
            *(post(gateway.address, sent_form(message)) for message in small[:30]),
            *(post(gateway.address, sent_form(message, ReferenceID="x" * 20_000)) for message in large),
            *(post(gateway.address, sent_form(message)) for message in small[30:]),
        )
        assert [response.status for response in responses] == [200] * 30 + [202] * 2 + [200] * 30
        assert set(await sent_message_ids(kafka, 60, partitions=1)) == set(small)
        assert gateway.metric("postbacks_gateway_spool_records") == 2
        await gateway.wait_ready()
        await set_max_message_bytes(kafka, 1_000_000)
        assert set(await sent_message_ids(kafka, 62, partitions=1)) == {*small, *large}
    await wipe(kafka)
