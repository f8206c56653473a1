"""One chaos run: starts the pipeline, injects faults under load, and checks the result."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.cluster import (
    Broker,
    Changelogs,
    Disk,
    Everything,
    Service,
    Target,
    clickhouse_service,
    inject_faults,
    reconcile,
)
from tests.chaos.faults import Fault, plan_blackouts, plan_faults, target_kind
from tests.chaos.fold import Limits
from tests.chaos.outcome import Outcome, PostLog
from tests.chaos.progress import TOPICS_OF, LongestStall, measure_stalls
from tests.chaos.quiesce import NotQuiescent, wait_quiescent, wait_ready
from tests.chaos.workload import post_workload
from tests.support.kafka import ApacheKafka, free_ports
from tests.support.small_disk import small_disk

#: Seconds; the minimum in production, so that more sessions expire in a run.
SESSION_TIMEOUT = 6.0
#: So short that messages become overdue and unsent, and stop being so when a spooled postback arrives.
LIMITS = Limits(overdue_after=timedelta(seconds=10), unsent_after=timedelta(seconds=8))
SPOOL_DISK_BYTES = 48 * 2**20


@dataclass(frozen=True)
class Pipeline:
    """What a run starts beside Kafka and ClickHouse."""

    #: Processes of each stage.
    gateways: int = 2
    streams: int = 2
    sinks: int = 2
    partitions: int = 8
    #: Seconds of a fetch of streams (`POSTBACKS_FETCH_WAIT`).
    fetch_wait: float = 0.05
    limits: Limits = LIMITS
    #: Whether stalls are measured, by requests to Kafka each second.
    measure_stalls: bool = True


DEFAULT = Pipeline()
#: For a run among the tests. Two workers still take partitions over from each other.
SMALL = Pipeline(
    gateways=1,
    sinks=1,
    partitions=2,
    fetch_wait=0.25,
    limits=Limits(overdue_after=timedelta(seconds=5), unsent_after=timedelta(seconds=4)),
    measure_stalls=False,
)


@dataclass(frozen=True)
class RunOptions:
    """The size of a run, and its seed."""

    seed: int
    postbacks: int
    rate: float
    faults: int
    brokers: int
    blackouts: int = 0
    pipeline: Pipeline = DEFAULT


async def run_chaos(options: RunOptions, folder: Path) -> Outcome:
    """Run in an empty folder, and leave the log of each process, `chaos.log` and `result.txt` in it.

    Raises:
        NotQuiescent: the pipeline did not become quiescent.
    """
    with ExitStack() as stack, (folder / "chaos.log").open("w") as file:
        began = time.monotonic()

        def log(line: str) -> None:
            file.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - began:7.1f} s  {line}\n")
            file.flush()

        cluster = ApacheKafka(folder / "kafka", options.brokers)
        stack.callback(cluster.kill)
        await asyncio.to_thread(cluster.start)
        disk = stack.enter_context(small_disk(folder / "disk", SPOOL_DISK_BYTES))
        services, urls, ops, clickhouse = _services(cluster, folder, options)
        limits = options.pipeline.limits
        background = [asyncio.create_task(service.supervise(log)) for service in services.values()]
        stalls = {group: LongestStall() for group in TOPICS_OF if options.pipeline.measure_stalls}
        try:
            await wait_ready(ops.values())
            log(f"ready, seed {options.seed}")
            background.append(asyncio.create_task(measure_stalls(cluster.address, stalls)))
            posts, faults = PostLog(), _faults(options, services, disk)
            targets: dict[str, Target] = dict(services)
            lock = asyncio.Lock()
            brokers = [Broker(f"kafka-{node.number}", node, lock) for node in cluster.nodes]
            targets |= {broker.name: broker for broker in brokers}
            targets["changelogs"] = Changelogs(cluster.address, lock)
            targets["everything"] = Everything(services.values(), brokers)
            targets["disk"] = Disk(folder / "disk", brokers[: len(brokers) // 2 + 1])
            await asyncio.gather(
                inject_faults(faults, targets, log),
                post_workload(urls, options.seed, options.postbacks, options.rate, posts),
            )
            log("all posted, waiting until quiescent")
            await wait_ready(ops.values())
            gateways = [address for name, address in ops.items() if target_kind(name) == "gateway"]
            await wait_quiescent(cluster.address, gateways, max(limits).total_seconds())
            log("quiescent, checking")
            result = await check(cluster.address, clickhouse, posts.posted, limits, log)
            reconciled = await reconcile(cluster.address, clickhouse, folder)
            (folder / "result.txt").write_text("".join(f"{line}\n" for line in result.lines()))
        except NotQuiescent as error:
            log(f"not quiescent: {error}")
            raise NotQuiescent(f"seed {options.seed}: {error}") from error
        finally:
            for task in background:
                task.cancel()
            ended_tasks = await asyncio.gather(*background, return_exceptions=True)
            await asyncio.gather(*(service.stop(signal.SIGKILL) for service in services.values()))
            longest = {group: stall.seconds for group, stall in stalls.items()}
            described = ", ".join(f"{group} {seconds:.1f} s" for group, seconds in longest.items())
            log(f"seed {options.seed} finished; longest stalls: {described}")
        restarts = sum(service.restarts for service in services.values())
        exits = Counter({service.name: service.unexpected_exits for service in services.values()})
        for failure in ended_tasks:
            if isinstance(failure, Exception):
                raise failure  # a bug of this harness
        return Outcome(options.seed, faults, posts, result, reconciled, restarts, +exits, longest)


def _services(
    cluster: ApacheKafka, folder: Path, options: RunOptions
) -> tuple[dict[str, Service], list[str], dict[str, str], str]:
    """Return the processes by name, the gateways' URLs, the ops addresses by name, and ClickHouse's URL."""
    ports = iter(free_ports(16))
    clickhouse_port = next(ports)
    clickhouse = f"http://default:@127.0.0.1:{clickhouse_port}/postbacks"
    services = {"clickhouse": clickhouse_service(clickhouse_port, folder)}
    urls, ops, pipeline = [], {}, options.pipeline
    stages = {"gateway": pipeline.gateways, "streams": pipeline.streams, "sinks": pipeline.sinks}
    for stage, count in stages.items():
        for number in range(count):
            name = f"{stage}-{number + 1}"
            ops[name] = f"127.0.0.1:{next(ports)}"
            settings = {
                "kafka": cluster.address,
                "replication": options.brokers,
                "partitions": pipeline.partitions,
                "fetch_wait": pipeline.fetch_wait,
                "clickhouse": clickhouse,
                "session_timeout": SESSION_TIMEOUT,
                "overdue_after": pipeline.limits.overdue_after.total_seconds(),
                "unsent_after": pipeline.limits.unsent_after.total_seconds(),
                "ops": ops[name],
                "data": folder / ("disk" if stage == "gateway" else "data") / name,
            }
            if stage == "gateway":
                settings["listen"] = f"127.0.0.1:{next(ports)}"
                urls.append(f"http://{settings['listen']}")
            services[name] = Service(name, [stage], settings, folder)
    return services, urls, ops, clickhouse


def _faults(options: RunOptions, services: dict[str, Service], disk: bool) -> list[Fault]:
    targets = [*services, *(f"kafka-{number + 1}" for number in range(options.brokers))]
    targets += ["changelogs", *(["disk"] if disk else [])]
    seconds = options.postbacks / options.rate
    faults = plan_faults(options.seed, seconds, options.faults, targets, SESSION_TIMEOUT)
    return sorted([*faults, *plan_blackouts(seconds, options.blackouts)])
