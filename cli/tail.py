"""`postbacks tail`: messages as they change, live from the topic `messages`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from msgspec import DecodeError
from rich.console import Console
from rich.text import Text

from cli.options import SettingsLoader
from gateway.parsing.values import read_number
from operations.codes import reason_of
from operations.timeline import STATUS_COLOURS, printable
from runtime.errors import KafkaUnavailable
from runtime.kafka.clients import client_options
from runtime.kafka.offsets import open_logs
from runtime.process import first_completed, stop_on_signals
from streams.message import MESSAGES, STATUSES, Message, decode_message


@dataclass(frozen=True)
class MessageChange:
    """A message's new state, and the status it had before (empty: the message is new)."""

    previous_status: str
    message: Message


def read_change(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> MessageChange | None:
    """Decode a record of `messages`; None for a tombstone and for a record that is not a message.

    Raises:
        NewerVersion: the record was written by a newer version.
    """
    if value is None:
        return None
    try:
        message = decode_message(value)
    except DecodeError:
        return None
    return MessageChange((dict(headers).get("previous") or b"").decode(errors="replace"), message)


@dataclass(frozen=True)
class MessageFilter:
    """Which messages to show; an empty condition matches all."""

    account: str = ""
    statuses: frozenset[str] = frozenset()
    #: Digits anywhere in the number from or to.
    number: str = ""

    def matches(self, message: Message) -> bool:
        return (
            (not self.account or message.account == self.account)
            and (not self.statuses or message.status in self.statuses)
            and (self.number in message.from_number or self.number in message.to_number)
        )


@click.command()
@click.option("--account", default="", help="Only this account.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES),
    metavar="STATUS",
    multiple=True,
    help=f"Only messages that now have this status; can be repeated. One of {', '.join(STATUSES)}.",
)
@click.option("--number", default="", help="Only numbers (from or to) that contain these digits.")
@click.option("--json", "as_json", is_flag=True, help="Print each message as a JSON object.")
@click.pass_obj
def tail(load: SettingsLoader, account: str, statuses: tuple[str, ...], number: str, as_json: bool) -> None:
    """Follow messages as they change.

    Prints a line for each state that streams writes from now on: time, message, previous and new status, the
    numbers, and for a refused or failed message why, and what to do. Without an arrow between statuses, the
    message changed but its status did not. Ctrl-C stops.

    \b
    Example:
      postbacks tail
      postbacks tail --status failed --status cancelled
      postbacks tail --number 7575449511 --json

    \b
    Settings:
      POSTBACKS_KAFKA            Kafka's brokers
      POSTBACKS_KAFKA_SECURITY…  TLS and authentication

    \b
    Exit status:
      0  stopped by Ctrl-C or SIGTERM
      1  Kafka does not answer, or has no topic `messages`
      2  a setting or an option is wrong
    """
    shown = MessageFilter(account, frozenset(statuses), read_number(number))
    asyncio.run(_run(client_options(load()), shown, as_json))


async def _run(options: Mapping[str, Any], shown: MessageFilter, as_json: bool) -> None:
    await first_completed(_print(options, shown, as_json), stop_on_signals().wait())


async def _print(options: Mapping[str, Any], shown: MessageFilter, as_json: bool) -> None:
    console = Console(highlight=False)
    async for record in follow(options):
        change = read_change(record.value, record.headers)
        if change is None or not shown.matches(change.message):
            continue
        if as_json:
            click.echo(record.value)
        else:
            console.print(line_of(change), soft_wrap=True)


async def follow(options: Mapping[str, Any]) -> AsyncIterator[ConsumerRecord]:
    """Yield the records of all partitions of `messages` that are written from now on, without end.

    Raises:
        KafkaUnavailable: no broker answers, or the topic does not exist.
    """
    async with open_logs(options) as logs:
        ends = await logs.ends([MESSAGES])
    if not ends:
        raise KafkaUnavailable(
            f"Topic {MESSAGES} does not exist yet. Is `postbacks streams` running on this Kafka?"
        )
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        brokers = ",".join(options["bootstrap_servers"])
        click.echo(f"Following {MESSAGES} on {brokers}; Ctrl-C stops", err=True)
        consumer.assign(list(ends))
        for partition, end in ends.items():
            consumer.seek(partition, end)
        async for record in consumer:
            yield record
    finally:
        await consumer.stop()


def line_of(change: MessageChange) -> Text:
    """The line that shows a change."""
    message = change.message
    previous = change.previous_status
    reason = printable(reason_of(message))
    return Text.assemble(
        (f"{message.last_seen_at}  ", "dim"),
        f"{message.account}/{message.message_id}  ",
        f"{f'{previous} → ' if previous not in ('', message.status) else '':>14}",
        (f"{message.status:<10}", STATUS_COLOURS[message.status]),
        f"  {message.from_number or '?'} → {message.to_number or '?'}",
        f"  {printable(message.reference_id)}",
        (f"  {reason}" if reason else "", "dim"),
    )
