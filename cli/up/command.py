"""`postbacks up`: the whole stack on this machine, from start to shutdown.

`cli/up/stack.py` defines its processes, `cli/up/ports.py` their addresses and `cli/up/drain.py` the order in
which they shut down; `runtime/supervisor.py` keeps them running.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from cli.options import PORT, RATE
from cli.up.download import download_kafka
from cli.up.drain import stop_in_order
from cli.up.ports import PortOptions, reserve_ports
from cli.up.read_token import with_read_tokens
from cli.up.screen import Screen
from cli.up.simulated import simulated_answers, with_simulated_answers
from cli.up.stack import (
    ENGINES,
    PROVIDER,
    Endpoints,
    plan,
    responder,
    simulator,
    with_embedded_kafka,
)
from cli.up.stack_file import lock_data_dir, write_stack_file
from cli.up.throughput import show_throughput
from cli.up.welcome import local_url, postback_url, ready_page, stack_settings
from embedded.kafka.recovery import rewind_groups, rewind_time
from runtime.errors import InvalidSetting
from runtime.kafka.clients import client_options
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED, first_completed, stop_on_signals
from runtime.settings import PREFIX, Settings, load_settings
from runtime.supervisor import Service, Supervisor
from streams.respond.rules_file import read_rules

NAME = "up"
DRAINED = "everything accepted is in ClickHouse"
NOT_DRAINED = "not drained: the rest is in Kafka, and the next start continues with it"


@click.command()
@click.option(
    "--port", type=PORT, metavar="PORT", help="The gateway's port. [default: that of POSTBACKS_LISTEN, 8080]"
)
@click.option("--kafka-port", type=PORT, metavar="PORT", help="The embedded Kafka's port. [default: 9092]")
@click.option(
    "--clickhouse-port", type=PORT, metavar="PORT", help="The embedded ClickHouse's port. [default: 8123]"
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The folder of all data. [default: POSTBACKS_DATA, data]"
)
@click.option("--simulate", type=RATE, metavar="RATE", help="Also post RATE simulated postbacks per second.")
@click.option(
    "--respond",
    metavar="RULES",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Also answer responses by the rules of this file: a dry run, unless POSTBACKS_RESPOND=on. With "
    "--simulate, the answers go to a simulated provider.",
)
def up(
    port: int | None,
    kafka_port: int | None,
    clickhouse_port: int | None,
    data: Path | None,
    simulate: float | None,
    respond: Path | None,
) -> None:
    """Run the whole pipeline on this machine.

    Starts an embedded Kafka, an embedded ClickHouse, the gateway, streams and the sinks, each as a process of
    its own, and restarts a process that exits. POSTBACKS_KAFKA or POSTBACKS_CLICKHOUSE replace an embedded
    engine with one that runs elsewhere. When everything is ready, prints the PostBackURL and how to try it. A
    port of 0 picks a free one.

    All data is in one folder; the next `postbacks up` on it continues, however this one ended. Other commands
    find the running stack when they are called in the same directory or with the same --data.

    Ctrl-C (or SIGTERM) shuts down gracefully: the gateway first, then each stage once it has drained, so that
    everything accepted is in ClickHouse. A second Ctrl-C kills everything at once.

    \b
    Example:
      postbacks up
      postbacks up --simulate 100
      postbacks up --port 8081 --kafka-port 0 --clickhouse-port 0 --data /tmp/up
      POSTBACKS_KAFKA=kafka:9092 POSTBACKS_REPLICATION=3 postbacks up
      postbacks up --respond rules.toml
      postbacks up --respond rules.toml --simulate 100

    \b
    Settings (all are passed on to the processes; see `postbacks settings`):
      POSTBACKS_KAFKA       a Kafka to use instead of the embedded one
      POSTBACKS_CLICKHOUSE  a ClickHouse to use instead of the embedded one
      POSTBACKS_LISTEN      where the gateway listens
      POSTBACKS_TOKENS      accounts and tokens
      POSTBACKS_READ_TOKENS likewise, for reading; by default created in DATA
      POSTBACKS_DATA        the folder of all data
      POSTBACKS_LOG_FLUSH   sync each postback to disk before it is answered;
                            also if POSTBACKS_RESPOND=on
      POSTBACKS_RESPOND     with --respond: on sends answers, else dry run;
                            with --simulate on is the default

    \b
    Exit status:
      0  shut down; everything accepted is in ClickHouse
      1  shut down without that, or killed by a second Ctrl-C
      2  cannot run: a port or the folder is in use, or a setting, a topic or
         the schema is wrong
    """
    settings = load_settings()  # not `find_settings`: that may return those of a running stack
    command = sys.argv[0] if Path(sys.argv[0]).name == "postbacks" else "postbacks"
    with reserve_ports(settings, PortOptions(port, kafka_port, clickhouse_port, data)) as endpoints:
        status = asyncio.run(run_stack(settings, endpoints, simulate, respond, os.environ, command))
    sys.exit(status)


async def run_stack(
    settings: Settings,
    endpoints: Endpoints,
    simulate: float | None,
    respond: Path | None,
    environment: Mapping[str, str],
    command: str,
) -> int:
    """Run until SIGTERM or SIGINT, then drain; return the exit status. A second signal kills all processes.

    Args:
        simulate: simulated postbacks per second, if any.
        respond: the rules of automatic responses, if any are to be sent.
        environment: of the processes, which load their settings from it.
        command: how to call `postbacks`, for the texts printed.

    Raises:
        StartupError: the folder is in use, or a process refuses its settings.
    """
    url = postback_url(endpoints, settings)
    if simulate and settings.tokens.get_secret_value():
        raise InvalidSetting(
            f"--simulate posts without a token, but {PREFIX}TOKENS is set: leave out one of the two, "
            f"or run `{command} simulate --url {url}` in another terminal"
        )
    if respond:
        rules = read_rules(respond, settings.partitions, settings.listed_opt_out_words)
        if simulate:
            settings = with_simulated_answers(settings, rules, respond)
        if settings.respond == "on":  # a power cut must not take an intent whose answer was sent
            environment = {**environment, f"{PREFIX}LOG_FLUSH": "true"}
    if endpoints.kafka:
        settings = with_embedded_kafka(settings, endpoints.kafka)
    console = Console()
    with lock_data_dir(endpoints.data):
        settings = with_read_tokens(settings, endpoints.listen, endpoints.data, time.time())
        if endpoints.kafka:
            download_kafka(settings.java, settings.cache_folder, console)
        with Screen(console) as screen:
            configure_logs(settings.log_level, settings.log_format)  # after Screen has redirected the output
            supervisor = Supervisor(environment, screen.print_line, screen.print_line)
            write_stack_file(endpoints.data, stack_settings(endpoints, settings))
            stop = stop_on_signals(partial(_kill, supervisor))
            report = partial(screen.print_line, NAME)
            try:
                services = plan(endpoints, settings)
                if respond:
                    gateway = local_url(endpoints.listen)
                    answering = responder(endpoints, settings, respond, f"{gateway}/submission")
                    services += simulated_answers(answering, endpoints, gateway) if simulate else (answering,)
                started = _start(supervisor, endpoints, services)
                await first_completed(started, stop.wait(), supervisor.wait_failed())
                if not stop.is_set():
                    screen.print_page(ready_page(endpoints, settings, command))
                    if simulate:
                        supervisor.start(simulator(url, simulate, respond))
                    throughput = show_throughput(endpoints.ops, screen)
                    await first_completed(throughput, stop.wait(), supervisor.wait_failed())
            finally:
                drained = await stop_in_order(supervisor, client_options(settings), report)
            report(DRAINED if drained else NOT_DRAINED)
    return DONE if drained else FAILED


async def _start(supervisor: Supervisor, endpoints: Endpoints, services: tuple[Service, ...]) -> None:
    """Start everything and wait until it is ready; engines first, so that no process logs that it retries."""
    since = rewind_time(endpoints.data / "kafka" / "data") if endpoints.kafka else None
    supervisor.start(*(service for service in services if service.name in (*ENGINES, PROVIDER)))
    await supervisor.wait_ready()
    if endpoints.kafka and since:
        await rewind_groups(endpoints.kafka, since)
    supervisor.start(*(service for service in services if service.name not in (*ENGINES, PROVIDER)))
    await supervisor.wait_ready()


def _kill(supervisor: Supervisor) -> None:
    supervisor.kill()
    os._exit(FAILED)
