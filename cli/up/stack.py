"""Which processes make the stack of `postbacks up`, and with which settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embedded.kafka.retention import HOLD_FILE
from runtime.settings import PREFIX, Settings

#: In the order of the flow, which is the order in which they are stopped.
STAGES = ("gateway", "streams", "sinks")
ENGINES = ("kafka", "clickhouse")
SIMULATOR = "simulator"

#: What the embedded Kafka is used with, whatever is set: one node, without TLS.
EMBEDDED_KAFKA = {"kafka_security": "PLAINTEXT", "replication": 1}


@dataclass(frozen=True)
class Service:
    """A process: `python -m arguments…`, with `settings` on top of what `postbacks up` itself was given."""

    name: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    #: `host:port` of its /readyz; without one it is ready when it has printed its first line.
    ops: str | None = None


@dataclass(frozen=True)
class Endpoints:
    """Where everything is: addresses are `host:port`; engines without one are somebody else's."""

    listen: str
    data: Path
    ops: Mapping[str, str]
    kafka: str | None
    clickhouse: str | None


def with_embedded_kafka(settings: Settings, address: str) -> Settings:
    """The settings for the embedded Kafka at `host:port`."""
    return settings.model_copy(update={"kafka": address} | EMBEDDED_KAFKA)


def plan(places: Endpoints, settings: Settings) -> tuple[Service, ...]:
    """The services; `settings` are those by which Kafka is found. Each waits for those that it needs."""
    services: list[Service] = []
    shared: dict[str, str] = {}
    data = str(places.data)
    if places.kafka:
        services.append(
            Service("kafka", ("embedded", "kafka", "--port", _port(places.kafka), "--data", data))
        )
        shared |= {name.upper(): str(getattr(settings, name)) for name in ("kafka", *EMBEDDED_KAFKA)}
    if places.clickhouse:
        arguments = ("embedded", "clickhouse", "--port", _port(places.clickhouse), "--data", data)
        services.append(Service("clickhouse", arguments))
        shared["CLICKHOUSE"] = embedded_clickhouse(places.clickhouse)
    for stage in STAGES:
        own = {"OPS": places.ops[stage], "DATA": str(places.data / stage)}
        if stage == "gateway":
            own["LISTEN"] = places.listen
            if places.kafka:
                own["HOLD"] = str(places.data / "kafka" / HOLD_FILE)
        environment = {PREFIX + name: value for name, value in (shared | own).items()}
        services.append(Service(stage, (stage,), environment, places.ops[stage]))
    return tuple(services)


def embedded_clickhouse(address: str) -> str:
    """The setting that names an embedded ClickHouse at `host:port`."""
    return f"http://default:@{address}/postbacks"


def simulator(url: str, rate: float) -> Service:
    """The provider, simulated until it is stopped."""
    return Service(SIMULATOR, ("cli", "simulate", "--url", url, "--rate", f"{rate:g}"))


def _port(address: str) -> str:
    return address.rpartition(":")[2]
