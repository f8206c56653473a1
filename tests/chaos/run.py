"""One chaos run, from the first process to the verdict."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from simulator.run import Plan, simulate
from tests.chaos.checker import judge
from tests.chaos.cluster import Broker, Disk, Everything, Service, Target, inflict
from tests.chaos.faults import Fault, plan_blackouts, plan_faults
from tests.chaos.outcome import Outcome, Posting
from tests.chaos.progress import TOPICS_OF, Stretch, watch_progress
from tests.chaos.quiesce import NotQuiescent, ready, silence
from tests.support.kafka import ApacheKafka, free_ports
from tests.support.small_disk import small_disk

#: As short as it may be in production, so that more of it fits into a run.
SESSION_SECONDS = 6.0
#: So short that some messages are overdue, and that it is taken back when their receipts lay in a spool.
OVERDUE_SECONDS = 10.0
SPOOL_DISK_BYTES = 48 * 2**20
TWO = (1, 2)


@dataclass(frozen=True)
class Wanted:
    """What a run should be like."""

    seed: int
    postbacks: int
    rate: float
    faults: int
    brokers: int
    blackouts: int = 0


async def run_chaos(wanted: Wanted, folder: Path) -> Outcome:
    """Run it in that (empty) folder, which keeps every process's log, `chaos.log` and `verdict.txt`.

    Raises:
        NoRest: the pipeline did not come to rest.
    """
    with ExitStack() as stack, (folder / "chaos.log").open("w") as log:
        began = time.monotonic()

        def say(line: str) -> None:
            log.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - began:7.1f} s  {line}\n")
            log.flush()

        cluster = ApacheKafka(folder / "kafka", wanted.brokers)
        stack.callback(cluster.end)
        await asyncio.to_thread(cluster.start)
        disk = stack.enter_context(small_disk(folder / "disk", SPOOL_DISK_BYTES))
        services, urls, ops, clickhouse = _services(cluster, folder, wanted.brokers)
        background = [asyncio.create_task(service.keep(say)) for service in services.values()]
        stretches = {group: Stretch() for group in TOPICS_OF}
        try:
            await ready(ops.values())
            say(f"ready, seed {wanted.seed}")
            background.append(asyncio.create_task(watch_progress(cluster.address, stretches)))
            posting, faults = Posting(), _faults(wanted, services, disk)
            targets: dict[str, Target] = dict(services)
            turn = asyncio.Lock()
            brokers = [Broker(f"kafka-{node.number}", node, turn) for node in cluster.nodes]
            targets |= {broker.name: broker for broker in brokers}
            targets["everything"] = Everything(services.values(), brokers)
            targets["disk"] = Disk(folder / "disk", brokers[: len(brokers) // 2 + 1])
            await asyncio.gather(
                inflict(faults, targets, say),
                *(_post(wanted, url, number, posting) for number, url in enumerate(urls)),
            )
            say("all posted; waiting for silence")
            await ready(ops.values())
            await silence(cluster.address, [ops["gateway-1"], ops["gateway-2"]], OVERDUE_SECONDS)
            say("silent; judging")
            posted = posting.posted
            verdict = await judge(
                cluster.address, clickhouse, posted, timedelta(seconds=OVERDUE_SECONDS), say
            )
            reconciled = await _reconcile(cluster.address, clickhouse, folder)
            (folder / "verdict.txt").write_text("".join(f"{line}\n" for line in verdict.lines()))
        except NotQuiescent as error:
            say(f"no rest: {error}")
            raise NotQuiescent(f"seed {wanted.seed}: {error}") from error
        finally:
            for task in background:
                task.cancel()
            ended_tasks = await asyncio.gather(*background, return_exceptions=True)
            await asyncio.gather(*(service.end(signal.SIGKILL) for service in services.values()))
            longest = {group: stretch.longest for group, stretch in stretches.items()}
            idle = ", ".join(f"{group} {seconds:.1f} s" for group, seconds in longest.items())
            say(f"seed {wanted.seed} over; longest time without progress: {idle}")
        restarts = sum(service.restarts for service in services.values())
        ended = Counter({service.name: service.ended_itself for service in services.values()})
        for failure in ended_tasks:
            if isinstance(failure, Exception):
                raise failure  # a defect of this harness
        return Outcome(wanted.seed, faults, posting, verdict, reconciled, restarts, +ended, longest)


def _services(
    cluster: ApacheKafka, folder: Path, replication: int
) -> tuple[dict[str, Service], list[str], dict[str, str], str]:
    """The processes by name, the PostBackURLs, the addresses of their ops ports, and ClickHouse's."""
    ports = iter(free_ports(16))
    clickhouse_port = next(ports)
    clickhouse = f"http://default:@127.0.0.1:{clickhouse_port}/postbacks"
    arguments = [
        "embedded",
        "clickhouse",
        "--port",
        str(clickhouse_port),
        "--data",
        str(folder / "clickhouse"),
    ]
    services = {"clickhouse": Service("clickhouse", arguments, {}, folder)}
    urls, ops = [], {}
    for stage in ("gateway", "streams", "sinks"):
        for number in TWO:
            name = f"{stage}-{number}"
            ops[name] = f"127.0.0.1:{next(ports)}"
            data = folder / ("disk" if stage == "gateway" else "data") / name
            settings = {
                "KAFKA": cluster.address,
                "REPLICATION": str(replication),
                "CLICKHOUSE": clickhouse,
                "SESSION_TIMEOUT": f"{SESSION_SECONDS:g}",
                "OVERDUE_AFTER": f"{OVERDUE_SECONDS:g}",
                "OPS": ops[name],
                "DATA": str(data),
            }
            if stage == "gateway":
                settings["LISTEN"] = f"127.0.0.1:{next(ports)}"
                urls.append(f"http://{settings['LISTEN']}/postback")
            environment = {f"POSTBACKS_{key}": value for key, value in settings.items()}
            services[name] = Service(name, [stage], environment, folder)
    return services, urls, ops, clickhouse


def _faults(wanted: Wanted, services: dict[str, Service], disk: bool) -> list[Fault]:
    targets = [*services, *(f"kafka-{number + 1}" for number in range(wanted.brokers))]
    targets += ["disk"] if disk else []
    seconds = wanted.postbacks / wanted.rate
    faults = plan_faults(wanted.seed, seconds, wanted.faults, targets, SESSION_SECONDS)
    return sorted([*faults, *plan_blackouts(seconds, wanted.blackouts)])


async def _post(wanted: Wanted, url: str, number: int, posting: Posting) -> None:
    plan = Plan(
        url=url,
        rate=wanted.rate / 2,
        seed=wanted.seed * 2 + number,
        count=wanted.postbacks // 2,
        tries=1_000,
        patience=10.0,
    )
    report = await simulate(plan, asyncio.Event(), posting.note)
    posting.posted.statuses.update(report.statuses)


async def _reconcile(kafka: str, clickhouse: str, folder: Path) -> int:
    """The exit status of `postbacks reconcile`, which logs into the folder."""
    settings = {"POSTBACKS_KAFKA": kafka, "POSTBACKS_CLICKHOUSE": clickhouse}
    reconcile = Service("reconcile", ["cli", "reconcile"], settings, folder)
    reconcile.start()
    return await reconcile.ended()
