"""`postbacks gateway|streams|sinks|local`: one process of the pipeline, which replaces this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cli.options import PORT


def exec_module(*arguments: str) -> None:
    """Replace this process by `python -m arguments…`, which gets its signals and sets its exit status."""
    # -P: ignore a folder called `gateway` in the current directory
    os.execv(sys.executable, [sys.executable, "-P", "-m", *arguments])


@click.command()
def gateway() -> None:
    """Run a gateway: receive postbacks over HTTP, publish to Kafka.

    Responds with 200 once Kafka has replicated the postback, and with 202 once it is on disk while Kafka is
    unavailable. Creates or checks its topics when it starts. SIGTERM or Ctrl-C shuts down gracefully:
    requests in flight are answered. A second signal exits at once.

    \b
    Example:
      postbacks gateway
      POSTBACKS_TOKENS=acme=s3cretT0ken POSTBACKS_LISTEN=0.0.0.0:8080 \\
        postbacks gateway

    \b
    Settings (more in `postbacks settings`):
      POSTBACKS_LISTEN       where to receive postbacks
      POSTBACKS_PROCESSES    number of processes, for as many cores
      POSTBACKS_TOKENS       accounts and tokens; without, loopback only
      POSTBACKS_KAFKA        Kafka's brokers
      POSTBACKS_PARTITIONS, POSTBACKS_REPLICATION
                             of the topics that it creates
      POSTBACKS_BODY_LIMIT   maximum size of a request's body, bytes
      POSTBACKS_ACK_TIMEOUT  seconds Kafka may take to acknowledge
      POSTBACKS_COMPRESSION  none, gzip, snappy, lz4 or zstd
      POSTBACKS_CLOUDEVENTS  off: no CloudEvents headers, shorter records
      POSTBACKS_OPS          where to serve /livez, /readyz and /metrics
      POSTBACKS_DATA         the folder of its spool
      POSTBACKS_READ_TOKENS  like POSTBACKS_TOKENS, for GET /contact/NUMBER;
                             needs POSTBACKS_CLICKHOUSE

    \b
    Exit status:
      0  shut down gracefully
      1  an error, which is logged
      2  a setting or a topic is wrong; the message says which
    """
    exec_module("gateway")


@click.command()
def streams() -> None:
    """Run a streams worker: merge postbacks into messages.

    Reads the topics postbacks.* and writes the topic `messages`. Run several workers to share the partitions;
    they rebalance when one starts or ends. SIGTERM or Ctrl-C shuts down gracefully: batches in flight are
    completed.

    \b
    Example:
      postbacks streams
      POSTBACKS_DATA=/var/lib/postbacks/streams \\
        POSTBACKS_OVERDUE_AFTER=86400 postbacks streams

    \b
    Settings (more in `postbacks settings`):
      POSTBACKS_KAFKA            Kafka's brokers
      POSTBACKS_DATA             the folder of its states; one per process
      POSTBACKS_STORE            rocksdb or memory
      POSTBACKS_COMPRESSION      none, gzip, snappy, lz4 or zstd
      POSTBACKS_OVERDUE_AFTER    seconds until a receipt is overdue
      POSTBACKS_UNSENT_AFTER     seconds until a missing attempt counts
      POSTBACKS_FORGET_AFTER     seconds from a message's last event until
                                 its state expires; more than the above
      POSTBACKS_OPT_OUT_WORDS    further words that opt out, like STOP
      POSTBACKS_SESSION_TIMEOUT  seconds until a silent worker's partitions
                                 are reassigned
      POSTBACKS_OPS              where to serve /livez, /readyz and /metrics

    \b
    Exit status:
      0  shut down gracefully
      1  an error, which is logged
      2  a setting or a topic is wrong; the message says which
    """
    exec_module("streams")


@click.command()
def sinks() -> None:
    """Run a sink: store postbacks and messages in ClickHouse.

    Migrates the schema when it starts. Retries while ClickHouse is unavailable. SIGTERM or Ctrl-C shuts down
    gracefully: inserts in flight are completed.

    \b
    Example:
      postbacks sinks
      POSTBACKS_CLICKHOUSE=https://writer:secret@clickhouse:8443/postbacks \\
        postbacks sinks

    \b
    Settings (more in `postbacks settings`):
      POSTBACKS_KAFKA          Kafka's brokers
      POSTBACKS_CLICKHOUSE     URL of ClickHouse, with user and password
      POSTBACKS_BATCH_ROWS     maximum rows of one insert
      POSTBACKS_BATCH_SECONDS  maximum seconds a row waits for its insert
      POSTBACKS_OPS            where to serve /livez, /readyz and /metrics

    \b
    Exit status:
      0  shut down gracefully
      1  an error, which is logged
      2  a setting, a topic or the schema is wrong; the message says which
    """
    exec_module("sinks")


@click.command()
@click.argument("engine", type=click.Choice(["kafka", "clickhouse"]))
@click.option("--port", type=PORT, metavar="PORT", help="0 picks a free one. [default: 9092, 8123]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="The folder of its data. [default: POSTBACKS_DATA, data]"
)
def local(engine: str, port: int | None, data: Path | None) -> None:
    """Run one embedded engine alone, for development and tests.

    Listens on loopback, and prints its address when it is ready. `kafka` is a node of Apache Kafka, which is
    downloaded when it first starts; `clickhouse` is ClickHouse's HTTP interface, with the user `default` and
    no password. Data stays in the folder for the next start.

    \b
    Example:
      postbacks local kafka
      postbacks local clickhouse --port 8124 --data /tmp/clickhouse

    \b
    Settings (more in `postbacks settings`):
      POSTBACKS_DATA       the folder of its data, unless --data is given
      POSTBACKS_CACHE      the folder Kafka is downloaded to
      POSTBACKS_JAVA       Java for Kafka, instead of the installed package
      POSTBACKS_LOG_BYTES  maximum size of Kafka's data, bytes
      POSTBACKS_LOG_FLUSH  whether Kafka syncs each record to disk first

    \b
    Exit status:
      0  shut down gracefully
      1  an error, which is logged
      2  cannot run: the port or the folder is in use, or the engine is not
         installed and cannot be downloaded
    """
    options = {"--port": port, "--data": data}
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    exec_module("embedded", engine, *given)
