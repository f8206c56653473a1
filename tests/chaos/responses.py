"""Automatic responses while responders are killed and frozen, and the provider drops connections."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from simulator.behaviour import Odds
from simulator.customer import Customer
from simulator.postback import SimulatedPostback
from simulator.provider import ProviderPlan
from simulator.run import Plan, simulate
from tests.chaos.cluster import Service, clickhouse_service, inject_faults, reconcile
from tests.chaos.faults import target_kind
from tests.chaos.planned_posts import post_planned
from tests.chaos.quiesce import wait_ready
from tests.chaos.readback import Digest, digest_of
from tests.chaos.respond_agreement import (
    RespondRun,
    date_records_by_brokers,
    require_agreement,
    wait_settled,
)
from tests.chaos.respond_faults import plan_respond_faults
from tests.chaos.respond_plan import plan_handsets
from tests.chaos.scenario import SESSION_TIMEOUT, Stage
from tests.chaos.sending_responder import SendingResponder
from tests.chaos.sends import running_provider
from tests.support.kafka import free_ports
from tests.support.process import ROOT

RULES = ROOT / "examples" / "rules.toml"
PARTITIONS = 8
RESPONDERS = ("responder-1", "responder-2")
#: Of the provider.
ODDS, PACE = Odds(refused=0.02, dropped=0.03, delay=1.0), 0.3
#: Handsets per second that write several texts.
HANDSET_RATE = 2.0
#: Seconds, see `respond_expected`: with faults, responses may be handled that much later than received.
MARGIN, MARGIN_WITH_FAULTS = 15.0, 600.0
KEYWORDS = ("HOURS", "INFO", "open")


@dataclass(frozen=True)
class RespondOptions:
    """The size of a run, and its seed."""

    seed: int
    seconds: float
    #: Postbacks per second.
    rate: float
    kills: int
    freezes: int
    brokers: int


class Acknowledged:
    """Digests of the responses that got a 2xx."""

    def __init__(self) -> None:
        self.responses: set[Digest] = set()

    def record(self, postback: SimulatedPostback, status: int | None) -> None:
        if postback.kind in ("reply", "inbound") and status and status < 300:
            self.responses.add(digest_of(postback.body))


async def respond_under_faults(stage: Stage, options: RespondOptions) -> None:
    """Post for so many seconds while faults are injected, then check what was answered."""
    acknowledged, stop, ledger = Acknowledged(), asyncio.Event(), stage.folder / "ledger"
    with stage.kafka(options.brokers) as cluster:
        ports = [f"127.0.0.1:{port}" for port in free_ports(8)]
        gateway, clickhouse = f"http://{ports[0]}", f"http://default:@{ports[1]}/postbacks"
        plan = ProviderPlan(
            "127.0.0.1", 0, options.seed, f"{gateway}/postback", ODDS, pace=PACE, ledger=ledger
        )
        has_faults = bool(options.kills or options.freezes)
        margin = MARGIN_WITH_FAULTS if has_faults else MARGIN
        run = RespondRun(cluster.address, clickhouse, ledger, PARTITIONS, margin, has_faults)
        async with (
            running_provider(plan, stop, acknowledged.record) as (provider, serving),
            _processes(stage, _settings(run, options, provider, gateway), ports),
        ):
            await date_records_by_brokers(run.kafka, PARTITIONS, options.brokers)
            await _post_under_faults(stage, gateway, options, acknowledged)
            await wait_settled(stage, run.kafka)
            stop.set()
            report = await serving
            stage.show(f"provider: {report.calls:,} calls, dropped {dict(report.dropped)}")
            sides, result = await require_agreement(stage, run)
            lost = acknowledged.responses - sides.bodies
            stage.require(not lost, f"each response that got a 2xx is in Kafka; {len(lost):,} are not")
            _require_drops(stage, result.unknown, report.dropped, has_faults)
            reconciled = await reconcile(run.kafka, clickhouse, stage.folder)
            stage.require(reconciled == 0, "reconcile exits with 0")


def _settings(run: RespondRun, options: RespondOptions, provider: str, gateway: str) -> dict[str, object]:
    """Those of all processes."""
    return {
        "kafka": run.kafka,
        "replication": options.brokers,
        "partitions": PARTITIONS,
        "clickhouse": run.clickhouse,
        "session_timeout": SESSION_TIMEOUT,
        "respond": "on",
        "respond_rules": RULES,
        "provider": f"http://{provider}",
        "license_key": "simulated",
        "submission_url": f"{gateway}/submission",
        "status_postback_url": f"{gateway}/postback",
    }


def _require_drops(stage: Stage, unknown: Counter[str], dropped: Mapping[str, int], has_faults: bool) -> None:
    """What was dropped is unknown, and nothing else unless a process was killed."""
    after = sum(count for fate, count in unknown.items() if fate.endswith(", dropped"))
    stage.require(after == dropped.get("after", 0), f"all dropped after acceptance are unknown: {after}")
    before = unknown["not in the ledger"]
    if has_faults:
        stage.require(before >= dropped.get("before", 0), f"all dropped before are unknown: {before}")
    else:
        stage.require(before == dropped.get("before", 0), f"only dropped ones are unknown: {before}")
        stage.require(unknown.total() == after + before, "no answer gets lost")


async def _post_under_faults(
    stage: Stage, gateway: str, options: RespondOptions, acknowledged: Acknowledged
) -> None:
    url, began = f"{gateway}/postback", time.monotonic()
    plan = Plan(
        url,
        options.rate,
        options.seed,
        seconds=options.seconds,
        max_attempts=1_000,
        timeout=10.0,
        customer=Customer.with_answers((), KEYWORDS),
    )
    faults = plan_respond_faults(
        options.seed, options.seconds, options.kills, options.freezes, RESPONDERS, SESSION_TIMEOUT
    )
    handsets = plan_handsets(options.seed, options.seconds, HANDSET_RATE, datetime.now(UTC))
    report, *_ = await asyncio.gather(
        simulate(plan, asyncio.Event(), acknowledged.record),
        post_planned(url, handsets, 1000, acknowledged.record),
        inject_faults(faults, stage.services, stage.log),
    )
    counts = Counter(f"{fault.kind} {fault.target.rpartition('-')[0]}" for fault in faults)
    hits = sum(service.hits for service in stage.services.values() if isinstance(service, SendingResponder))
    described = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"
    stage.show(
        f"{report.posts:,} postbacks and {len(acknowledged.responses):,} responses in "
        f"{time.monotonic() - began:.0f} s, faults: {described}; {hits} of responders that sent"
    )


@asynccontextmanager
async def _processes(stage: Stage, shared: dict[str, object], ports: list[str]) -> AsyncIterator[None]:
    """Run the pipeline for the block, which begins when all is ready."""
    names = ("gateway-1", "streams-1", "sinks-1", *RESPONDERS)
    stage.services["clickhouse"] = clickhouse_service(int(ports[1].rpartition(":")[2]), stage.folder)
    ops = dict(zip(names, ports[2:], strict=False))
    for name in names:
        own = {"ops": ops[name], "data": stage.folder / "data" / name, "listen": ports[0]}
        stage.services[name] = (
            SendingResponder(name, shared | own, stage.folder)
            if name in RESPONDERS
            else Service(name, [target_kind(name)], shared | own, stage.folder)
        )
    background = [asyncio.create_task(service.supervise(stage.log)) for service in stage.services.values()]
    try:
        await wait_ready(ops.values())
        stage.log("all processes ready")
        yield
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*(service.stop(signal.SIGKILL) for service in stage.services.values()))
