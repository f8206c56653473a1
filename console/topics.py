"""The topics of the whole pipeline: made or checked, and made afresh on an embedded broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import click
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from msgspec import json

from console.command import Load
from gateway.topics import gateway_topics
from runtime.errors import KafkaAway, TopicMismatch
from runtime.kafka import client_options
from runtime.logs import configure_logs
from runtime.settings import Settings
from runtime.topics import TopicSpec, ensure_topics
from streams.topics import messages_topic

#: Seconds to wait for a broker that has just started.
PATIENCE = 20.0
TRIES = 20


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each topic: how it must be.")
@click.pass_obj
def topics(load: Load, as_json: bool) -> None:
    """Make the topics on Kafka, or check those that are there.

    The gateway and streams do the same at their start; this is for doing it beforehand, with other rights
    than theirs. Partitions, replicas, how long records are kept: what is missing is made so. A topic that is
    there and would break correlation is refused; one that is only kept otherwise is warned about.

    \b
    Example:
      postbacks topics
      POSTBACKS_KAFKA=kafka:9092 POSTBACKS_PARTITIONS=32 POSTBACKS_REPLICATION=3 postbacks topics

    \b
    Settings:
      POSTBACKS_KAFKA            where Kafka is
      POSTBACKS_KAFKA_SECURITY…  how to talk to it
      POSTBACKS_PARTITIONS       of each topic; cannot be changed later
      POSTBACKS_REPLICATION      copies of each topic

    \b
    Exit status:
      0  all topics are there, as they must be
      1  Kafka does not answer, or cannot make them now
      2  a topic is there that would break correlation, or a setting is wrong
    """
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    specs = all_topics(settings)
    asyncio.run(ensure_topics(client_options(settings), specs))
    for spec in specs:
        click.echo(json.encode(spec) if as_json else f"{spec.name}: {spec.partitions} partitions")


def all_topics(settings: Settings) -> list[TopicSpec]:
    """What the pipeline needs on a cluster."""
    return [*gateway_topics(settings), messages_topic(settings)]


async def make_topics(options: Mapping[str, Any], specs: Sequence[TopicSpec]) -> None:
    """Make the topics on a broker that starts empty.

    A client of its predecessor that is still connected (`postbacks tail`, a program of somebody) asks for
    them by their names as soon as it can, upon which the embedded broker makes them, with partitions of its
    own choice and nothing in them. Those give way.

    Raises:
        KafkaAway: it does not answer.
        TopicMismatch: they are made otherwise again and again.
    """
    for _ in range(TRIES):
        try:
            return await ensure_topics(options, specs, PATIENCE)
        except TopicMismatch as error:
            mismatch = error
            await _delete(options, specs)
    raise mismatch


async def _delete(options: Mapping[str, Any], specs: Sequence[TopicSpec]) -> None:
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        there = set(await admin.list_topics())
        await admin.delete_topics([spec.name for spec in specs if spec.name in there])
    except KafkaError as error:
        raise KafkaAway(f"Kafka does not answer: {error}") from None
    finally:
        await admin.close()
