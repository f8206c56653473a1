"""`postbacks up`: the whole stack on this machine, from its first process to its last.

Where its processes are is decided in `cli/up/ports.py`, which there are in `cli/up/stack.py`, how they are
kept running in `cli/up/supervisor.py`, and how they end in `cli/up/drain.py`.
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

from cli.up.download import download_kafka
from cli.up.drain import stop_in_order
from cli.up.ports import PortOptions, allocate_ports
from cli.up.screen import Screen
from cli.up.stack import ENGINES, Endpoints, Service, plan, simulator, with_embedded_kafka
from cli.up.stack_file import lock_data_dir, write_stack_file
from cli.up.supervisor import Supervisor
from cli.up.throughput import show_rates
from cli.up.welcome import postback_url, ready_page, stack_settings
from embedded.kafka.recovery import reread_since, rewind_groups
from runtime.errors import InvalidSetting
from runtime.kafka.clients import client_options
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED
from runtime.settings import PREFIX, Settings, load_settings

NAME = "up"
DRAINED = "everything that was accepted is in ClickHouse"
NOT_DRAINED = "what has not drained is in Kafka; the next start continues with it"
PORT = click.IntRange(0, 65535)
RATE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.option(
    "--port", type=PORT, help="Where the gateway listens. [default: that of POSTBACKS_LISTEN, 8080]"
)
@click.option("--kafka-port", type=PORT, help="Of the embedded Kafka. [default: 9092]")
@click.option("--clickhouse-port", type=PORT, help="Of the embedded ClickHouse. [default: 8123]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="The folder of all data. [default: POSTBACKS_DATA, data]"
)
@click.option(
    "--simulate", type=RATE, metavar="RATE", help="Let a simulated provider post RATE postbacks a second."
)
def up(
    port: int | None,
    kafka_port: int | None,
    clickhouse_port: int | None,
    data: Path | None,
    simulate: float | None,
) -> None:
    """Run everything on this machine: an engine for the log, one for SQL, and the three stages.

    Kafka and ClickHouse come embedded, except where POSTBACKS_KAFKA or POSTBACKS_CLICKHOUSE names one that
    runs elsewhere. Every part is a process of its own; what ends by itself is started again. When all are
    ready, it says where to post and how to look at the result. Any port may be 0, which takes a free one.

    Kafka and ClickHouse keep their data in the folder: the next `postbacks up` on it continues where this one
    ended, however it ended. Other commands find the running stack by themselves, on whatever ports, when they
    are started in the same directory or with the same --data.

    Ctrl-C (or SIGTERM) stops the gateway first and then each stage when it has nothing left to do, so that
    everything accepted is in ClickHouse. A second Ctrl-C ends everything at once.

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
    settings = load_settings()  # not those of a stack that runs already
    command = sys.argv[0] if Path(sys.argv[0]).name == "postbacks" else "postbacks"
    wanted = PortOptions(port, kafka_port, clickhouse_port, data)
    sys.exit(asyncio.run(run_stack(settings, wanted, simulate, os.environ, command)))


async def run_stack(
    settings: Settings,
    wanted: PortOptions,
    simulate: float | None,
    environment: Mapping[str, str],
    command: str,
) -> int:
    """Run until SIGTERM or SIGINT, and drain then (a second one ends all at once); the exit status.

    Args:
        simulate: postbacks a second of a simulated provider, if any.
        environment: for the processes, which read their settings from it.
        command: how people call `postbacks`, for what is shown to them.

    Raises:
        Refused: a port or the folder is in use, or a process cannot run with these settings.
    """
    places = allocate_ports(settings, wanted)
    if simulate and settings.tokens.get_secret_value():
        raise InvalidSetting(
            f"--simulate posts without a token, but {PREFIX}TOKENS is set: leave out one of the two, "
            f"or run `{command} simulate --url {postback_url(places, settings)}` beside this"
        )
    found = with_embedded_kafka(settings, places.kafka) if places.kafka else settings
    console = Console()
    with lock_data_dir(places.data):
        if places.kafka:
            download_kafka(settings, console)
        with Screen(console) as screen:
            configure_logs(
                settings.log_level, settings.log_format
            )  # now, so that its lines mind the live one
            supervisor = Supervisor(environment, screen.say)
            write_stack_file(places.data, stack_settings(places, found))
            stop = _until_signal(supervisor)
            started = _start(supervisor, places, plan(places, found))
            if await _first(started, stop.wait(), supervisor.given_up) == 0:
                screen.page(ready_page(places, found, command))
                if simulate:
                    supervisor.keep(simulator(postback_url(places, settings), simulate))
                await _first(show_rates(places.ops, screen), stop.wait(), supervisor.given_up)
            say = partial(screen.say, NAME)
            drained = await stop_in_order(supervisor, client_options(found), say)
            if supervisor.given_up.done():
                raise supervisor.given_up.result()
            say(DRAINED if drained else NOT_DRAINED)
    return DONE if drained else FAILED


async def _start(supervisor: Supervisor, places: Endpoints, services: tuple[Service, ...]) -> None:
    """Return when all are ready. Engines are started first: a client that finds none retries, and says so."""
    since = reread_since(places.data / "kafka" / "data") if places.kafka else None
    supervisor.keep(*(service for service in services if service.name in ENGINES))
    await supervisor.ready()
    if places.kafka and since:
        await rewind_groups(places.kafka, since)
    supervisor.keep(*(service for service in services if service.name not in ENGINES))
    await supervisor.ready()


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
