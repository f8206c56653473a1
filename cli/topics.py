"""`postbacks topics`: the topics of the whole pipeline, created or checked."""

from __future__ import annotations

import asyncio

import click
from msgspec import json

from cli.command import Load
from gateway.topics import gateway_topics
from runtime.kafka.clients import client_options
from runtime.kafka.topics import TopicSpec, ensure_topics
from runtime.logging import configure_logs
from runtime.settings import Settings
from streams.topics import messages_topic


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
