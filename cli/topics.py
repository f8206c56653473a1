"""`postbacks topics`: creates or checks the topics of the whole pipeline."""

from __future__ import annotations

import asyncio

import click
from msgspec import json

from cli.options import SettingsLoader
from gateway.topics import gateway_topics
from runtime.kafka.clients import client_options
from runtime.kafka.topics import ensure_topics
from runtime.logging import configure_logs
from streams.topics import streams_topics


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print each topic's configuration as a JSON object.")
@click.pass_obj
def topics(load: SettingsLoader, as_json: bool) -> None:
    """Create the topics in Kafka, or check the existing ones.

    The gateway and streams do this when they start; run it beforehand if their users may not create topics.
    A topic that would break correlation is refused. One that only differs in configuration, such as its
    retention, is accepted with a warning.

    \b
    Example:
      postbacks topics
      POSTBACKS_KAFKA=kafka:9092 POSTBACKS_PARTITIONS=32 \\
        POSTBACKS_REPLICATION=3 postbacks topics

    \b
    Settings:
      POSTBACKS_KAFKA            Kafka's brokers
      POSTBACKS_KAFKA_SECURITY…  TLS and authentication
      POSTBACKS_PARTITIONS       of each topic; cannot be changed later
      POSTBACKS_REPLICATION      replicas of each partition

    \b
    Exit status:
      0  all topics exist as required
      1  Kafka does not answer, or cannot create them now
      2  an existing topic would break correlation, or a setting is wrong
    """
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    partitions, replication = settings.partitions, settings.replication
    specs = [*gateway_topics(partitions, replication), *streams_topics(partitions, replication)]
    asyncio.run(ensure_topics(client_options(settings), specs))
    for spec in specs:
        click.echo(json.encode(spec) if as_json else f"{spec.name}: {spec.partitions} partitions")
