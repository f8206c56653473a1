"""`postbacks contacts import`: imports opt-outs and opt-ins from a CSV file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.csv_file import read_file, usage_error
from cli.options import ACCOUNT, SettingsLoader
from cli.progress import ProgressBars
from cli.publisher import open_publisher
from gateway.auth.accounts import DEFAULT_ACCOUNT
from gateway.kafka.cloudevents import Headers
from gateway.sink import Unavailable
from operations.contact_import import ImportSource, InvalidImport, read_import, record_of_event
from operations.replay.publish import PAGE_SIZE
from runtime.batched import batched
from runtime.logging import configure_logs
from runtime.process import FAILED
from runtime.settings import Settings
from streams.contact_event import MAX_SOURCE_NAME, ContactEvent
from streams.topics import contact_events_topic

#: Problems of a CSV file that are printed.
MAX_PROBLEMS = 100


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", required=True, metavar="NAME", help="What the list is called; each event has it.")
@click.option(
    "--account",
    type=ACCOUNT,
    default=DEFAULT_ACCOUNT,
    show_default=True,
    help="The account of rows without one.",
)
@click.pass_obj
def import_contacts(load: SettingsLoader, file: Path, source: str, account: str) -> None:
    """Import opt-outs and opt-ins from a CSV file.

    The file is in UTF-8 and has a header. Only the column `number` is required.

    \b
      number      the number that has opted out
      own_number  the number of yours that it was about; empty: all
      at          when: 2026-11-28T12:00, in UTC or with a zone; of an opt-out
                  without a time, when it was first imported
      words       what was said
      signal      opted_out (the default), suspected, opted_in or yes
      account     by default that of --account

    All rows are checked before the first one is imported: if one is wrong, nothing is. The same row of the
    same source is one event, however often it is imported. Streams and sinks must run for it to take effect.

    \b
    Example:
      postbacks contacts import opted-out.csv --source old-system
      postbacks contacts import numbers.csv --source crm --account acme

    \b
    Settings:
      POSTBACKS_KAFKA            Kafka's brokers
      POSTBACKS_KAFKA_SECURITY…  TLS and authentication
      POSTBACKS_PARTITIONS       of the topic contact_events
      POSTBACKS_REPLICATION      of the topic, if it must be created

    \b
    Exit status:
      0  all events are in Kafka
      1  Kafka does not answer; the import can be repeated
      2  an option, a row of the file, a setting or the topic is wrong; nothing
         was imported
    """
    settings = load()
    configure_logs("error", settings.log_format)
    source = source.strip()
    if not (0 < len(source) <= MAX_SOURCE_NAME and source.isprintable()):
        raise click.UsageError(f"--source {source!r}: must be 1 to {MAX_SOURCE_NAME} printable characters")
    events = _read(file, ImportSource(source, account, datetime.now(UTC)))
    published = asyncio.run(_publish(events, settings))
    if published < len(events):
        click.echo(f"{published:,} of {len(events):,} events were imported. Import the file again", err=True)
        sys.exit(FAILED)
    numbers = len({(event.account, event.number) for event in events})
    click.echo(f"Events {len(events):,}, of numbers {numbers:,}")


def _read(file: Path, source: ImportSource) -> list[ContactEvent]:
    try:
        return read_file(file, lambda lines: read_import(lines, source))
    except InvalidImport as error:
        raise usage_error(file, error, "nothing was imported", MAX_PROBLEMS) from None


async def _publish(events: Sequence[ContactEvent], settings: Settings) -> int:
    """Publish events; return how many are certainly in Kafka.

    Raises:
        StartupError: as `open_publisher`.
    """
    topic = contact_events_topic(settings.partitions, settings.replication)
    published = 0
    async with open_publisher(settings, _no_headers, [topic]) as publish:
        with ProgressBars() as progress, progress.step("Importing", len(events)) as advance:
            for page in batched(map(record_of_event, events), PAGE_SIZE):
                try:
                    await asyncio.gather(*map(publish, page))
                except Unavailable as error:
                    click.echo(f"Kafka does not acknowledge: {error}", err=True)
                    break
                published += len(page)
                advance(len(page))
    return published


def _no_headers(topic: str, value: bytes) -> Headers:
    return []
