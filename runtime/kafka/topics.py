"""Kafka's topics as the pipeline needs them: creates what is missing, checks what is there.

Which topics there are is their owners' to say (`gateway/topics.py`, `streams/topics.py`). A topic that would
break correlation without a sound is refused; one that is merely kept otherwise is warned about.
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
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from runtime.errors import KafkaUnavailable, TopicMismatch

log = structlog.get_logger(__name__)

POLICY, LARGEST = "cleanup.policy", "max.message.bytes"
KAFKAS_DEFAULT = {POLICY: "delete"}
REQUEST_SECONDS = 10
#: Until a topic is believed to be otherwise, and between two looks at it. A broker that does not know it yet
#: has as long as for a request.
SETTLE_TIMEOUT, POLL_INTERVAL = 3.0, 0.2


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it must be (partitions, policy, largest record) and as it is created (the rest)."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


async def ensure_topics(options: Mapping[str, Any], specs: Sequence[TopicSpec], patience: float = 0) -> None:
    """Return once all topics are there, made or found as specified.

    Args:
        options: of aiokafka's clients (`runtime.kafka.client_options`).
        patience: seconds to go on trying while Kafka does not answer or cannot create them yet.

    Raises:
        TopicMismatch: a topic is there with other partitions, another cleanup.policy, or for smaller records.
        KafkaAway: no answer, or the topics cannot be created (now), and patience has run out.
    """
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(KafkaUnavailable),
        stop=stop_after_delay(patience),
        wait=wait_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    async for attempt in attempts:
        with attempt:
            await _ensure(options, specs)


async def _ensure(options: Mapping[str, Any], specs: Sequence[TopicSpec]) -> None:
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=REQUEST_SECONDS * 1000)
    try:
        await admin.start()
        await _create_missing(admin, specs)
        await _check_settled(admin, specs)
    except (KafkaError, OSError, TimeoutError) as error:
        servers = ",".join(options["bootstrap_servers"])
        raise KafkaUnavailable(
            f"Kafka at {servers} does not answer: {error or type(error).__name__}"
        ) from error
    finally:
        await admin.close()


async def _create_missing(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    # All topics are asked for: asking for one by its name may create it, and not as specified.
    there = set(await admin.list_topics())
    missing = [spec for spec in specs if spec.name not in there]
    if not missing:
        return
    answer = await admin.create_topics(
        [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.config))
            for spec in missing
        ]
    )
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # somebody was quicker: it is checked like others
            raise KafkaUnavailable(
                f"Topic {name} cannot be created: {error.__name__} {' '.join(filter(None, message))}"
            )
    log.info("Topics created", topics=[spec.name for spec in missing])


async def _check_settled(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    """A broker learns a moment later of a topic that was just made, and then of its configuration."""
    began = time.monotonic()
    while True:
        try:
            return await _check(admin, specs)
        except (TopicMismatch, KafkaUnavailable) as error:
            limit = SETTLE_TIMEOUT if isinstance(error, TopicMismatch) else REQUEST_SECONDS
            if time.monotonic() > began + limit:
                raise
        await asyncio.sleep(POLL_INTERVAL)


async def _check(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    partitions = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
    configs = await _configs(admin, specs)
    for spec in specs:
        if not partitions.get(spec.name):
            raise KafkaUnavailable(f"Topic {spec.name} is created, but not known to all brokers yet")
        _check_partitions(spec, len(partitions[spec.name]))
        _check_config(spec, configs[spec.name])
        replication = min(len(partition["replicas"]) for partition in partitions[spec.name])
        if replication < spec.replication:
            log.warning(
                "Topic has fewer replicas than set",
                topic=spec.name,
                replicas=replication,
                POSTBACKS_REPLICATION=spec.replication,
            )


async def _configs(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]
) -> dict[str, dict[str, str | None]]:
    """Of each topic all keys that Kafka tells."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in specs]
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in await admin.describe_configs(asked)
        for _, _, _, name, entries in answer.resources
    }


def _check_partitions(spec: TopicSpec, partitions: int) -> None:
    if partitions != spec.partitions:
        raise TopicMismatch(
            f"Topic {spec.name} has {partitions} partitions, not {spec.partitions} (POSTBACKS_PARTITIONS): "
            "events of a message would not meet. Set POSTBACKS_PARTITIONS to what all of the topics have, "
            "or start on a cluster without them"
        )


def _check_config(spec: TopicSpec, config: Mapping[str, str | None]) -> None:
    for key, wanted in spec.config.items():
        found = config.get(key) or KAFKAS_DEFAULT.get(key)
        if found is None or found == wanted:  # a Kafka-compatible service need not tell every key
            continue
        other_policy = key == POLICY and set(found.split(",")) != set(wanted.split(","))
        if other_policy or (key == LARGEST and int(found) < int(wanted)):
            raise TopicMismatch(
                f"Topic {spec.name} has {key}={found} and needs {wanted}: "
                f"kafka-configs --alter --topic {spec.name} --add-config {key}={wanted}"
            )
        log.warning(
            "Topic is kept otherwise than by default",
            topic=spec.name,
            key=key,
            is_=_as_number(found),
            default=_as_number(wanted),
        )


def _as_number(value: str) -> str | int:
    return int(value) if value.isascii() and value.isdigit() else value
