"""Which processes make the stack of `postbacks up`, with which settings, and which rests on which. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.settings import PREFIX, Settings

#: In the order of the flow, which is the order in which they are stopped.
STAGES = ("gateway", "streams", "sinks")
ENGINES = ("kafka", "clickhouse")
SIMULATOR = "simulator"

#: What the embedded broker is to be used with: it is one, without TLS.
EMBEDDED_KAFKA = {"kafka_security": "PLAINTEXT", "replication": 1}
#: What it is fast with, unless something else is asked for: for each fetch of a partition that has news it
#: goes through all batches that the partition ever had. So: few partitions, large batches, few fetches.
FAST_EMBEDDED_KAFKA = {"partitions": 1, "linger": 0.02, "fetch_wait": 0.2}


@dataclass(frozen=True)
class Service:
    """A process: `python -m arguments…`, with `settings` on top of what `postbacks up` itself was given."""

    name: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    #: `host:port` of its /readyz; without one it is ready when it has printed its first line.
    ops: str | None = None
    #: It is started after this service, ended before it, and so ended and started again with it.
    rests_on: str | None = None


@dataclass(frozen=True)
class Places:
    """Where everything is: addresses are `host:port`; engines without one are somebody else's."""

    listen: str
    data: Path
    ops: Mapping[str, str]
    kafka: str | None
    clickhouse: str | None


def with_embedded_kafka(settings: Settings, address: str) -> Settings:
    """The settings for the embedded broker at `host:port`."""
    asked = settings.model_fields_set
    fast = {name: value for name, value in FAST_EMBEDDED_KAFKA.items() if name not in asked}
    return settings.model_copy(update={"kafka": address} | EMBEDDED_KAFKA | fast)


def plan(places: Places, settings: Settings) -> tuple[Service, ...]:
    """The services, each after what it rests on; `settings` are those by which Kafka is found.

    The embedded broker loses its log when it ends, and creates whatever topic an old client names, with
    partitions of its own choice. Nobody who knew the last one may meet the next: the stages rest on it.
    """
    services: list[Service] = []
    shared: dict[str, str] = {}
    if places.kafka:
        services.append(Service("kafka", ("local", "kafka", "--port", _port(places.kafka))))
        names = ["kafka", *EMBEDDED_KAFKA, *FAST_EMBEDDED_KAFKA]
        shared |= {name.upper(): str(getattr(settings, name)) for name in names}
    if places.clickhouse:
        arguments = ("local", "clickhouse", "--port", _port(places.clickhouse), "--data", str(places.data))
        services.append(Service("clickhouse", arguments))
        shared["CLICKHOUSE"] = embedded_clickhouse(places.clickhouse)
    for stage in STAGES:
        own = {"OPS": places.ops[stage], "DATA": str(places.data / stage)}
        if stage == "gateway":
            own["LISTEN"] = places.listen
        told = {PREFIX + name: value for name, value in (shared | own).items()}
        rests_on = "kafka" if places.kafka else None
        services.append(Service(stage, (stage,), told, places.ops[stage], rests_on))
    return tuple(services)


def embedded_clickhouse(address: str) -> str:
    """The setting that names an embedded ClickHouse at `host:port`."""
    return f"http://default:@{address}/postbacks"


def simulator(url: str, rate: float) -> Service:
    """The provider, simulated until it is stopped."""
    return Service(SIMULATOR, ("console", "simulate", "--url", url, "--rate", f"{rate:g}"))


def resting_on(services: tuple[Service, ...], name: str | None) -> tuple[Service, ...]:
    """Those that live and die with `name`; with None those that rest on nothing of ours."""
    return tuple(service for service in services if service.rests_on == name)


def _port(address: str) -> str:
    return address.rpartition(":")[2]
