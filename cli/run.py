"""`postbacks gateway|streams|sinks|local`: one process of the pipeline, in the place of this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


def exec_module(*arguments: str) -> None:
    """Go on as `python -m arguments…`: its signals, its exit status, nothing of this process left."""
    # -P: a folder that happens to be called like one of ours, where people are, is not meant.
    os.execv(sys.executable, [sys.executable, "-P", "-m", *arguments])


@click.command()
def gateway() -> None:
    """Take postbacks over HTTP and publish them to Kafka.

    It answers 200 once Kafka has what was posted, and not before. The topics are made or checked at its
    start. SIGTERM or Ctrl-C answers what is in hand and ends; a second one ends at once.

    \b
    Example:
      postbacks gateway
      POSTBACKS_TOKENS=acme=s3cretT0ken POSTBACKS_LISTEN=0.0.0.0:8080 postbacks gateway

    \b
    Settings (`postbacks settings` tells more):
      POSTBACKS_LISTEN       where it takes postbacks
      POSTBACKS_PROCESSES    how many processes it is, for as many cores
      POSTBACKS_TOKENS       which accounts there are; without any, loopback only
      POSTBACKS_KAFKA        where Kafka is
      POSTBACKS_PARTITIONS, POSTBACKS_REPLICATION
                             of the topics that it makes
      POSTBACKS_BODY_LIMIT   bytes of a request's body
      POSTBACKS_ACK_TIMEOUT  seconds that Kafka may take
      POSTBACKS_CLOUDEVENTS  off: no CloudEvents headers, and shorter records
      POSTBACKS_OPS          where /livez, /readyz and /metrics are
      POSTBACKS_DATA         the folder of what it keeps

    \b
    Exit status:
      0  ended in good order
      1  ended by an error
      2  a setting or a topic does not allow it to run; it says which one
    """
    exec_module("gateway")


@click.command()
def streams() -> None:
    """Join postbacks to messages: read postbacks.*, write `messages`.

    Run as many of these as there is work for, up to one for each partition; they share it out among
    themselves, and take over when one ends. SIGTERM or Ctrl-C finishes what is in hand and ends.

    \b
    Example:
      postbacks streams
      POSTBACKS_DATA=/var/lib/postbacks/streams POSTBACKS_OVERDUE_AFTER=86400 postbacks streams

    \b
    Settings (`postbacks settings` tells more):
      POSTBACKS_KAFKA            where Kafka is
      POSTBACKS_DATA             the folder of its states, one for each process
      POSTBACKS_STORE            rocksdb, or memory
      POSTBACKS_OVERDUE_AFTER    seconds after which a receipt is missed
      POSTBACKS_FORGET_AFTER     seconds after its last event until a message is let go
      POSTBACKS_SESSION_TIMEOUT  seconds until a silent worker's partitions are given away
      POSTBACKS_OPS              where /livez, /readyz and /metrics are

    \b
    Exit status:
      0  ended in good order
      1  ended by an error
      2  a setting or a topic does not allow it to run; it says which one
    """
    exec_module("streams")


@click.command()
def sinks() -> None:
    """Carry postbacks and messages from Kafka to ClickHouse.

    The schema is brought up to date at its start. While ClickHouse is away it waits, and goes on by itself.
    SIGTERM or Ctrl-C finishes the inserts in hand and ends.

    \b
    Example:
      postbacks sinks
      POSTBACKS_CLICKHOUSE=https://writer:secret@clickhouse:8443/postbacks postbacks sinks

    \b
    Settings (`postbacks settings` tells more):
      POSTBACKS_KAFKA          where Kafka is
      POSTBACKS_CLICKHOUSE     where ClickHouse is
      POSTBACKS_BATCH_ROWS     rows of one insert, at most
      POSTBACKS_BATCH_SECONDS  seconds that a row waits for others, at most
      POSTBACKS_OPS            where /livez, /readyz and /metrics are

    \b
    Exit status:
      0  ended in good order
      1  ended by an error
      2  a setting, a topic or the schema does not allow it to run; it says which one
    """
    exec_module("sinks")


@click.command()
@click.argument("engine", type=click.Choice(["kafka", "clickhouse"]))
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one. [default: 9092, 8123]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="The folder of its data. [default: POSTBACKS_DATA, data]"
)
def local(engine: str, port: int | None, data: Path | None) -> None:
    """Run one embedded engine alone, on loopback, for trying and testing.

    It prints its address when it is ready. kafka is a node of Apache Kafka, downloaded at its first start;
    clickhouse is ClickHouse behind its HTTP interface, with the user `default` and no password. Each keeps
    its data in the folder, and its next start continues with it.

    \b
    Example:
      postbacks local kafka
      postbacks local clickhouse --port 8124 --data /tmp/clickhouse

    \b
    Settings (`postbacks settings` tells more):
      POSTBACKS_DATA       the folder of the data, where --data is not given
      POSTBACKS_CACHE      where Kafka is downloaded to
      POSTBACKS_JAVA       the Java that runs Kafka, instead of the one that is installed with it
      POSTBACKS_LOG_BYTES  bytes of Kafka's data, at most

    \b
    Exit status:
      0  ended in good order
      1  ended by an error
      2  it cannot run: the port or the folder is in use, or it is not installed and cannot be downloaded
    """
    given = {"--port": port, "--data": data}
    options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    exec_module("embedded", engine, *options)
