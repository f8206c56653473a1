"""One chaos run, from the first process to the verdict."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from console.offsets import open_logs
from gateway.arrival import Arrival
from gateway.parse import parse
from gateway.postback import POSTBACK_TOPICS, REJECTED
from local.simulator.packet import Packet
from local.simulator.run import Plan, simulate
from runtime.kafka import client_options
from runtime.settings import load_settings
from streams.message import MESSAGES
from tests.apache_kafka import ApacheKafka, free_ports
from tests.chaos.pipeline import Broker, Disk, Service, Target, inflict
from tests.chaos.schedule import Fault, plan_faults
from tests.chaos.verdict import Verdict, judge

#: As short as it may be in production, so that more of it fits into a run.
SESSION_SECONDS = 6.0
SPOOL_DISK_BYTES = 24 * 2**20
SILENCE_SECONDS = 180.0
TWO = (1, 2)


@dataclass
class Acknowledgements:
    """What was posted, as event ids, and what came of it."""

    attempted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    longest_gap: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    def note(self, packet: Packet, status: int | None) -> None:
        """An answer of a gateway; None when there was none."""
        event = parse(
            Arrival(account="default", query="", headers=[], body=packet.body, client_ip="", received_at="")
        ).event_id
        self.attempted.add(event)
        self.answers[str(status or "none")] += 1
        if status and status < 300:
            self.acknowledged.add(event)
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self._last)
            self._last = now


@dataclass
class Outcome:
    """What a run came to."""

    postbacks: int
    faults: list[Fault]
    posted: Acknowledgements
    verdict: Verdict
    reconciled: int
    restarts: int

    @property
    def good(self) -> bool:
        return self.verdict.good and self.reconciled == 0


@dataclass(frozen=True)
class Wanted:
    """What a run should be like."""

    seed: int
    postbacks: int
    rate: float
    faults: int
    brokers: int


async def run_chaos(wanted: Wanted, folder: Path) -> Outcome:
    """Run it in that (empty) folder, which keeps every process's log, and `chaos.log`.

    Raises:
        TimeoutError: the pipeline did not come to rest.
    """
    with ExitStack() as stack, (folder / "chaos.log").open("w") as log:
        began = time.monotonic()

        def say(line: str) -> None:
            log.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - began:7.1f} s  {line}\n")
            log.flush()

        cluster = ApacheKafka(folder / "kafka", wanted.brokers)
        stack.callback(cluster.end)
        await asyncio.to_thread(cluster.start)
        disk = stack.enter_context(_small_disk(folder / "disk"))
        services, urls, ops, clickhouse = _services(cluster, folder, wanted.brokers)
        keeping = [asyncio.create_task(service.keep()) for service in services.values()]
        try:
            await _ready(ops.values())
            say("ready")
            posted, faults = Acknowledgements(), _faults(wanted, services, disk)
            targets: dict[str, Target] = dict(services)
            brokers = [Broker(f"kafka-{node.number}", node) for node in cluster.nodes]
            targets |= {broker.name: broker for broker in brokers}
            targets["disk"] = Disk(folder / "disk", brokers[: len(brokers) // 2 + 1])
            await asyncio.gather(
                inflict(faults, targets, say),
                *(_post(wanted, url, number, posted) for number, url in enumerate(urls)),
            )
            say("all posted; waiting for silence")
            await _ready(ops.values())
            await _silence(cluster.address, [ops["gateway-1"], ops["gateway-2"]])
            say("silent; judging")
            verdict = await judge(cluster.address, clickhouse, posted.acknowledged, posted.attempted)
            reconciled = await _reconcile(cluster.address, clickhouse, folder)
            for key, difference in list(verdict.wrong.items())[:5]:
                say(f"wrong: {key}: {difference}")
            for line in sorted(verdict.lost)[:20] + sorted(verdict.doubled)[:20]:
                say(f"lost or doubled: {line}")
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*(service.end(signal.SIGKILL) for service in services.values()))
        restarts = sum(service.restarts for service in services.values())
        return Outcome(len(posted.attempted), faults, posted, verdict, reconciled, restarts)


def _services(
    cluster: ApacheKafka, folder: Path, replication: int
) -> tuple[dict[str, Service], list[str], dict[str, str], str]:
    """The processes by name, the PostBackURLs, the addresses of their ops ports, and ClickHouse's."""
    ports = iter(free_ports(16))
    clickhouse_port = next(ports)
    clickhouse = f"http://default:@127.0.0.1:{clickhouse_port}/postbacks"
    arguments = ["local", "clickhouse", "--port", str(clickhouse_port), "--data", str(folder / "clickhouse")]
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
    return plan_faults(wanted.seed, seconds, wanted.faults, targets, SESSION_SECONDS)


async def _post(wanted: Wanted, url: str, number: int, posted: Acknowledgements) -> None:
    plan = Plan(
        url=url,
        rate=wanted.rate / 2,
        seed=wanted.seed * 2 + number,
        count=wanted.postbacks // 2,
        tries=1_000,
        patience=10.0,
    )
    await simulate(plan, asyncio.Event(), posted.note)


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A disk of a few megabytes at the folder; False where this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_DISK_BYTES}", "none", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def _ready(addresses: Iterable[str]) -> None:
    """Wait until every process says that nothing is missing."""
    await _until_said([f"http://{address}/readyz" for address in addresses], "ready\n")


async def _until_said(urls: Iterable[str], words: str) -> None:
    async with aiohttp.ClientSession() as http:
        for url in urls:
            said = ""
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    while words not in said:
                        await asyncio.sleep(0.2)
                        said = await _says(http, url)
            except TimeoutError:
                raise TimeoutError(f"{url} says {said!r}, not {words!r}") from None


async def _says(http: aiohttp.ClientSession, url: str) -> str:
    try:
        async with http.get(url, timeout=aiohttp.ClientTimeout(2)) as answer:
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return repr(error)


async def _silence(kafka: str, gateways: list[str]) -> None:
    """Wait until the spools are empty and both groups have committed everything."""
    await _until_said([f"http://{address}/metrics" for address in gateways], "_spool_records 0.0")
    options = client_options(load_settings({"POSTBACKS_KAFKA": kafka}))
    async with open_logs(options) as logs:
        await logs.drained("streams", await logs.ends(POSTBACK_TOPICS), SILENCE_SECONDS, lambda _: None)
        ends = await logs.ends((*POSTBACK_TOPICS, REJECTED, MESSAGES))
        await logs.drained("sinks", ends, SILENCE_SECONDS, lambda _: None)


async def _reconcile(kafka: str, clickhouse: str, folder: Path) -> int:
    """The exit status of `postbacks reconcile`, whose words go into the folder."""
    settings = {"POSTBACKS_KAFKA": kafka, "POSTBACKS_CLICKHOUSE": clickhouse}
    reconcile = Service("reconcile", ["console", "reconcile"], settings, folder)
    reconcile.start()
    return await reconcile.ended()
