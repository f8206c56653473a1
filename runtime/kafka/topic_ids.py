"""Topic ids: Kafka gives each topic one when it is created, so a topic that was created again has another.

Metadata has them from version 10 on, and version 12 repaired requests for them; aiokafka's end at version 5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from runtime.errors import KafkaUnavailable
from runtime.kafka.clients import open_admin

NO_ID = UUID(int=0)
UNKNOWN_TOPIC = 3


class Uuid(AbstractType[UUID]):  # type: ignore[misc]
    """A UUID on the wire: 16 bytes."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    ("tags", TaggedFields),
)


class MetadataResponseV12(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                ("partitions", CompactArray(*_PARTITION)),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequestV12(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = MetadataResponseV12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicIdsRequest(Request[MetadataRequestV12]):  # type: ignore[misc]
    """Asks for the metadata of topics by name, without creating them."""

    API_KEY = 3

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[MetadataRequestV12]) -> MetadataRequestV12:
        return request_struct_class([(NO_ID, name, {}) for name in self._names], False, False, {})


async def topic_ids(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, UUID] | None:
    """The ids of those of the topics that exist; None if the broker does not know topic ids.

    Answered by any broker; one that has just started, or is cut off, may answer from old metadata.

    Raises:
        KafkaError: the broker does not answer, or reports another error than an unknown topic.
    """
    try:
        response = await admin._send_request(TopicIdsRequest(names))
    except (IncompatibleBrokerVersion, NotImplementedError):  # aiokafka's, for a version out of range
        return None
    found: dict[str, UUID] = {}
    for error, name, topic_id, *_ in response.topics:
        if error == UNKNOWN_TOPIC:
            continue
        if error:
            raise for_code(error)(name)
        found[name] = topic_id
    return None if NO_ID in found.values() else found


async def topic_id_of(options: Mapping[str, Any], name: str) -> UUID | None:
    """The id of a topic that exists; None if the broker does not know topic ids.

    Args:
        options: options of aiokafka's clients (`client_options`).

    Raises:
        KafkaUnavailable: no broker answers, or the one that does not know the topic yet.
    """
    async with open_admin(options) as admin:
        found = await topic_ids(admin, [name])
    if found is None:
        return None
    if name not in found:
        raise KafkaUnavailable(f"Topic {name} was created, but not all brokers know it yet")
    return found[name]
