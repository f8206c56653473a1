"""`postbacks tail`: messages as they change, live from Kafka's topic `messages`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import click
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from rich.console import Console
from rich.text import Text

from cli.change import Change, Filter, read_change
from cli.command import Load
from gateway.parsing.fields import read_number
from operations.timeline import STATUS_COLOUR, printable
from runtime.errors import KafkaUnavailable
from runtime.kafka.clients import client_options
from runtime.kafka.offsets import open_logs
from streams.message import MESSAGES, STATUSES


@click.command()
@click.option("--account", default="", help="Of this account only.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES),
    multiple=True,
    help="That are of this status now; may be given several times.",
)
@click.option("--number", default="", help="From or to a number that holds these digits.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each: the whole state.")
@click.pass_obj
def tail(load: Load, account: str, statuses: tuple[str, ...], number: str, as_json: bool) -> None:
    """Follow messages as they change, until Ctrl-C.

    A line for each state that streams writes, from now on: when, which message, what its status was and is,
    between which numbers. Where no arrow stands, the message became fuller without changing its status.

    \b
    Example:
      postbacks tail
      postbacks tail --status failed --status cancelled
      postbacks tail --number 7575449511 --json

    \b
    Settings:
      POSTBACKS_KAFKA            where Kafka is
      POSTBACKS_KAFKA_SECURITY…  how to talk to it

    \b
    Exit status:
      0  ended by Ctrl-C or SIGTERM
      1  Kafka does not answer, or has no topic of messages
      2  a setting or an option is wrong
    """
    chosen = Filter(account, frozenset(statuses), read_number(number))
    options = client_options(load())
    asyncio.run(_until_signal(_print(options, chosen, as_json)))


async def _until_signal(work: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def _print(options: Mapping[str, Any], chosen: Filter, as_json: bool) -> None:
    console = Console(highlight=False)
    async for record in follow(options):
        change = read_change(record.value, record.headers)
        if change is None or not chosen.lets_through(change):
            continue
        if as_json:
            click.echo(record.value)
        else:
            console.print(_line(change), soft_wrap=True)


async def follow(options: Mapping[str, Any]) -> AsyncIterator[ConsumerRecord]:
    """The records of `messages` that are written from now on, of all partitions.

    Raises:
        KafkaAway: nobody answers, or there is no such topic.
    """
    async with open_logs(options) as logs:
        ends = await logs.ends([MESSAGES])
    if not ends:
        raise KafkaUnavailable(
            f"There is no topic {MESSAGES} yet. Does `postbacks streams` run on this Kafka?"
        )
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        click.echo(
            f"Following {MESSAGES} on {','.join(options['bootstrap_servers'])}; Ctrl-C ends it", err=True
        )
        consumer.assign(list(ends))
        for partition, end in ends.items():
            consumer.seek(partition, end)
        async for record in consumer:
            yield record
    finally:
        await consumer.stop()


def _line(change: Change) -> Text:
    message = change.message
    colour = STATUS_COLOUR[message.status]
    before = f"{change.previous} → " if change.previous not in ("", message.status) else ""
    return Text.assemble(
        (f"{message.last_seen_at}  ", "dim"),
        f"{message.account}/{message.message_id}  ",
        f"{before:>14}",
        (f"{message.status:<10}", colour),
        f"  {message.from_number or '?'} → {message.to_number or '?'}",
        f"  {printable(message.reference_id)}",
    )
