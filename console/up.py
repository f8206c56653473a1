"""`postbacks up`: the whole stack on this machine, from its first process to its last.

Where its processes are is decided in `console/places.py`, which there are in `console/stack.py`, how they are
kept running in `console/supervisor.py`, and how they end in `console/drain.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Mapping
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from console.command import Load
from console.drain import stop_in_order
from console.places import Wanted, find_places, owned_folder
from console.rates import show_rates
from console.ready import postback_url, ready_page
from console.screen import Screen
from console.stack import Places, plan, simulator, with_embedded_kafka
from console.supervisor import Supervisor
from console.topics import all_topics, make_topics
from runtime.errors import BadSetting
from runtime.kafka import client_options
from runtime.logs import configure_logs
from runtime.process import DONE, FAILED
from runtime.settings import PREFIX, Settings

NAME = "up"
PORT = click.IntRange(0, 65535)
RATE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.option(
    "--port", type=PORT, help="Where the gateway listens. [default: that of POSTBACKS_LISTEN, 8080]"
)
@click.option("--kafka-port", type=PORT, default=9092, show_default=True, help="Of the embedded Kafka.")
@click.option(
    "--clickhouse-port", type=PORT, default=8123, show_default=True, help="Of the embedded ClickHouse."
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The folder of all data. [default: POSTBACKS_DATA, data]"
)
@click.option(
    "--simulate", type=RATE, metavar="RATE", help="Let a simulated provider post RATE postbacks a second."
)
@click.pass_obj
def up(
    load: Load,
    port: int | None,
    kafka_port: int,
    clickhouse_port: int,
    data: Path | None,
    simulate: float | None,
) -> None:
    """Run everything on this machine: an engine for the log, one for SQL, and the three stages.

    Kafka and ClickHouse come embedded, except where POSTBACKS_KAFKA or POSTBACKS_CLICKHOUSE names one that
    runs elsewhere. Every part is a process of its own; what ends by itself is started again. When all are
    ready, it says where to post and how to look at the result. Any port may be 0, which takes a free one.

    The embedded Kafka keeps its log in memory: it ends with this command, and if it dies alone, what was not
    in ClickHouse by then is gone. ClickHouse's data stays in the folder.

    Ctrl-C (or SIGTERM) stops the gateway first and then each stage when it has nothing left to do, so that
    whatever was accepted is in ClickHouse. A second Ctrl-C ends everything at once.

    \b
    Example:
      postbacks up
      postbacks up --simulate 100
      postbacks up --port 8081 --kafka-port 0 --clickhouse-port 0 --data /tmp/postbacks
      POSTBACKS_KAFKA=kafka:9092 POSTBACKS_REPLICATION=3 postbacks up

    \b
    Settings: all (`postbacks settings` lists them), handed on to the processes; of its own it reads
      POSTBACKS_KAFKA       use this Kafka instead of the embedded one
      POSTBACKS_CLICKHOUSE  use this ClickHouse instead of the embedded one
      POSTBACKS_LISTEN      where the gateway listens
      POSTBACKS_TOKENS      which accounts there are
      POSTBACKS_DATA        the folder of all data, with one for each process in it

    \b
    Exit status:
      0  stopped, and everything that was accepted is in ClickHouse
      1  stopped, and not everything is; or ended at once by a second Ctrl-C
      2  it cannot run: a port or the folder is in use, or a setting, a topic or the schema is wrong
    """
    settings = load()
    command = sys.argv[0] if Path(sys.argv[0]).name == "postbacks" else "postbacks"
    wanted = Wanted(port, kafka_port, clickhouse_port, data)
    sys.exit(asyncio.run(run_stack(settings, wanted, simulate, os.environ, command)))


async def run_stack(
    settings: Settings, wanted: Wanted, simulate: float | None, environment: Mapping[str, str], command: str
) -> int:
    """Run until SIGTERM or SIGINT, and drain then (a second one ends all at once); the exit status.

    Args:
        simulate: postbacks a second of a simulated provider, if any.
        environment: for the processes, which read their settings from it.
        command: how people call `postbacks`, for what is shown to them.

    Raises:
        Refused: a port or the folder is in use, or a process cannot run with these settings.
    """
    places = find_places(settings, wanted)
    if simulate and settings.tokens.get_secret_value():
        raise BadSetting(
            f"--simulate posts without a token, but {PREFIX}TOKENS is set: leave out one of the two, "
            f"or run `{command} simulate --url {postback_url(places, settings)}` beside this"
        )
    found = with_embedded_kafka(settings, places.kafka) if places.kafka else settings
    prepare = {"kafka": partial(make_topics, client_options(found), all_topics(found))}
    with owned_folder(places.data), Screen(Console()) as screen:
        configure_logs(settings.log_level, settings.log_format)  # now, so that its lines mind the live one
        supervisor = Supervisor(plan(places, found), environment, screen.say, prepare)
        stop = _until_signal(supervisor)
        supervisor.start()
        if await _first(supervisor.ready(), stop.wait(), supervisor.given_up) == 0:
            screen.page(ready_page(places, found, command))
            if simulate:
                supervisor.keep(simulator(postback_url(places, settings), simulate))
            await _first(show_rates(places.ops, screen), stop.wait(), supervisor.given_up)
        drained = await stop_in_order(supervisor, client_options(found), lambda line: screen.say(NAME, line))
        if supervisor.given_up.done():
            raise supervisor.given_up.result()
        screen.say(NAME, _last_words(drained, places))
    return DONE if drained else FAILED


def _last_words(drained: bool, places: Places) -> str:
    if drained:
        return "everything that was accepted is in ClickHouse"
    if places.kafka:
        return "what had not drained is lost with the embedded broker's memory"
    return "what has not drained is in Kafka, and goes on at the next start"


def _until_signal(supervisor: Supervisor) -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second one ends everything at once."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.kill()
            os._exit(FAILED)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


async def _first(*waited: Awaitable[object]) -> int:
    """Which of them is done first (its exception is raised); the rest of the coroutines are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waited]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        if isinstance(task, asyncio.Task):  # the future of somebody else is left to him
            task.cancel()
    index = min(tasks.index(task) for task in done)
    tasks[index].result()
    return index
