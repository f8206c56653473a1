"""Creates missing topics, and checks existing ones against their specification.

The topics' owners specify them (`gateway/topics.py`, `streams/topics.py`). A topic that would silently break
correlation is an error; other differences are logged as warnings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from runtime.errors import KafkaUnavailable, TopicMismatch
from runtime.kafka.clients import REQUEST_TIMEOUT, open_admin
from runtime.retry import retrying

log = structlog.get_logger(__name__)

CLEANUP_POLICY, MAX_MESSAGE_BYTES = "cleanup.policy", "max.message.bytes"
KAFKA_DEFAULTS = {CLEANUP_POLICY: "delete"}
#: Seconds between attempts, at most.
MAX_BACKOFF = 2.0
#: Seconds after which a mismatch counts, and between checks: brokers learn of a new topic with a delay. For
#: one that a broker does not know yet it is `REQUEST_TIMEOUT`.
SETTLE_TIMEOUT, POLL_INTERVAL = 3.0, 0.2


@dataclass(frozen=True)
class TopicSpec:
    """What a topic must have (partitions, cleanup policy, record size) and is created with (the rest)."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


def durability(replication: int) -> dict[str, str]:
    """Configuration with which the loss of a broker loses no record; empty below three replicas."""
    return {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"} if replication >= 3 else {}


async def ensure_topics(options: Mapping[str, Any], specs: Sequence[TopicSpec], timeout: float = 0) -> None:
    """Create the topics that are missing, and check that the others are as specified.

    Args:
        options: options of aiokafka's clients (`client_options`).
        timeout: seconds to retry for while Kafka is unavailable or cannot create them yet.

    Raises:
        TopicMismatch: a topic has other partitions, another cleanup.policy, or a lower max.message.bytes.
        KafkaUnavailable: no broker answered, or topics could not be created, until the timeout.
    """
    async for attempt in retrying(KafkaUnavailable, MAX_BACKOFF, timeout):
        with attempt:
            async with open_admin(options) as admin:
                await _create_missing(admin, specs)
                await _check_until_settled(admin, specs)


async def _create_missing(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    existing = set(await admin.list_topics())  # naming a topic may create it, and not as specified
    missing = [spec for spec in specs if spec.name not in existing]
    if not missing:
        return
    response = await admin.create_topics(
        [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.config))
            for spec in missing
        ]
    )
    created = [name for name, code, *_ in response.topic_errors if not code]
    if created:
        log.info("Topics created", topics=created)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another process created it: checked below
            raise KafkaUnavailable(
                f"Topic {name} cannot be created: {error.__name__} {' '.join(filter(None, message))}"
            )


async def _check_until_settled(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    """Repeat a failed check: a broker learns of a new topic with a delay, then of its configuration."""
    started = time.monotonic()
    while True:
        try:
            return await _check(admin, specs)
        except (TopicMismatch, KafkaUnavailable) as error:
            limit = SETTLE_TIMEOUT if isinstance(error, TopicMismatch) else REQUEST_TIMEOUT
            if time.monotonic() > started + limit:
                raise
        await asyncio.sleep(POLL_INTERVAL)


async def _check(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    partitions = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
    configs = await _configs(admin, specs)
    for spec in specs:
        if not partitions.get(spec.name):
            raise KafkaUnavailable(f"Topic {spec.name} was created, but not all brokers know it yet")
        _check_partitions(spec, len(partitions[spec.name]))
        _check_config(spec, configs[spec.name])
        replication = min(len(partition["replicas"]) for partition in partitions[spec.name])
        if replication < spec.replication:
            log.warning(
                "Topic has fewer replicas than configured",
                topic=spec.name,
                replicas=replication,
                POSTBACKS_REPLICATION=spec.replication,
            )


async def _configs(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]
) -> dict[str, dict[str, str | None]]:
    """The topics' configuration, all keys that Kafka returns."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in specs]
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for response in await admin.describe_configs(resources)
        for _, _, _, name, entries in response.resources
    }


def _check_partitions(spec: TopicSpec, partitions: int) -> None:
    if partitions != spec.partitions:
        raise TopicMismatch(
            f"Topic {spec.name} has {partitions} partitions, not {spec.partitions} (POSTBACKS_PARTITIONS): "
            "events of a message would not share a partition. Set POSTBACKS_PARTITIONS to the number that "
            "all topics have, or use a cluster without these topics"
        )


def _check_config(spec: TopicSpec, config: Mapping[str, str | None]) -> None:
    for key, wanted in spec.config.items():
        found = config.get(key) or KAFKA_DEFAULTS.get(key)
        if found is None or found == wanted:  # a Kafka-compatible service may omit keys
            continue
        other_policy = key == CLEANUP_POLICY and set(found.split(",")) != set(wanted.split(","))
        if other_policy or (key == MAX_MESSAGE_BYTES and int(found) < int(wanted)):
            raise TopicMismatch(
                f"Topic {spec.name} has {key}={found} and needs {wanted}: "
                f"kafka-configs --alter --topic {spec.name} --add-config {key}={wanted}"
            )
        log.warning(
            "Topic config differs from the default",
            topic=spec.name,
            key=key,
            is_=_as_number(found),
            default=_as_number(wanted),
        )


def _as_number(value: str) -> str | int:
    return int(value) if value.isascii() and value.isdigit() else value
