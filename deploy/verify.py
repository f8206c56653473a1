#!/usr/bin/env python3
"""Tests docker-compose.yml: start, post, query, and lose nothing whatever is restarted.

    deploy/verify.py [--rate 50] [--keep]

Starts the compose file as a project of its own (own volumes, a free port), posts the provider's sample, then
lets the simulated provider post while every service is restarted and killed, and while Kafka is unavailable
and the gateway is recreated meanwhile. At the end ClickHouse must have exactly what was acknowledged: by
event, and by message and status. Then removes everything, except with --keep.

Needs Docker with compose, and the images: the official ones, or stand-ins of the same names (deploy/standin).
Exit status: 0 passed, 1 failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "postbacks-verify"
SIMULATOR = f"{PROJECT}-simulator"
STAGES = ("gateway", "streams", "sinks")
SERVICES = (*STAGES, "clickhouse", "kafka")
SAMPLE_ID = "9a35e913-ded0-7574-4642-5f60c550c706"
SAMPLE = (
    f"SMSSent=1&MessageID={SAMPLE_ID}&ReferenceID=12345&FromPhoneNumber=17575449510"
    "&ToPhoneNumber=17575449511&SentTime=5%2f8%2f2010+2%3a42%3a36+AM"
)
#: Seconds of posting between two faults, and without Kafka.
FAULT_INTERVAL, OUTAGE = 3, 8
#: Seconds until everything acknowledged must be in ClickHouse.
TIMEOUT = 180

began = time.monotonic()


def log(line: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)


def compose(*arguments: str) -> str:
    """Run `docker compose arguments…` and return its standard output; exit with its errors if it fails."""
    done = subprocess.run(
        ["docker", "compose", "--progress", "quiet", "--project-name", PROJECT, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        call = f"docker compose {' '.join(arguments)}"
        raise SystemExit(f"{call}: status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def postbacks(*arguments: str) -> str:
    return compose("run", "--rm", "-T", "postbacks", *arguments).strip()


def query(sql: str) -> list[list[str]]:
    """Return the rows of the result, without the column names."""
    return [line.split("\t") for line in postbacks("sql", sql).splitlines()[1:]]


def wait_healthy(service: str) -> None:
    compose("up", "--wait", "--no-deps", "--no-recreate", service)


def restart(service: str) -> None:
    compose("restart", service)
    wait_healthy(service)


def kill(service: str) -> None:
    compose("kill", service)
    wait_healthy(service)


def outage() -> None:
    """Stop Kafka, and recreate the gateway that spools meanwhile: only its volume survives."""
    compose("stop", "kafka")
    time.sleep(OUTAGE)
    compose("up", "--detach", "--no-deps", "--force-recreate", "gateway")
    time.sleep(FAULT_INTERVAL)
    for service in ("kafka", *STAGES):
        wait_healthy(service)


class Simulator:
    """The simulated provider, inside the compose network."""

    def __init__(self, rate: float) -> None:
        url = postbacks("token", "--url", "http://gateway:8080")
        seed = str(random.randrange(10**6))
        self._process = subprocess.Popen(
            [
                *("docker", "compose", "--progress", "quiet", "--project-name", PROJECT),
                *("run", "--rm", "-T", "--name", SIMULATOR, "postbacks"),
                *("simulate", "--url", url, "--rate", str(rate), "--seed", seed, "--json"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def report(self) -> dict[str, Any]:
        """Stop it once its posts in flight are answered; return its report."""
        subprocess.run(["docker", "kill", "--signal", "TERM", SIMULATOR], check=True, capture_output=True)
        output, _ = self._process.communicate(timeout=120)
        counts: dict[str, Any] = json.loads(output)
        return counts


def post_sample() -> None:
    url = postbacks("token")
    with urllib.request.urlopen(url, SAMPLE.encode(), timeout=30) as response:
        log(f"sample posted: {response.status}")
    while not query(f"SELECT status FROM messages WHERE message_id = '{SAMPLE_ID}'"):
        pass  # each query takes about a second
    log("sample found in SQL")


def inject_faults() -> None:
    for fault in (restart, kill):
        for service in SERVICES:
            log(f"{fault.__name__} {service}")
            fault(service)
            time.sleep(FAULT_INTERVAL)
    log("outage of kafka, with the gateway recreated meanwhile")
    outage()


def check(report: dict[str, Any]) -> bool:
    """Wait until ClickHouse has exactly what was acknowledged, and the sample; False after the timeout."""
    unsure = int(report["unsure"])
    acknowledged = int(report["events"]) + 1
    deadline = time.monotonic() + TIMEOUT
    stored = 0
    while stored < acknowledged and time.monotonic() < deadline:
        stored = int(query("SELECT uniqExact(event_id) FROM postbacks")[0][0])
    statuses = report["statuses"] | {"sent": report["statuses"].get("sent", 0) + 1}
    found: dict[str, int] = {}
    while found != statuses and time.monotonic() < deadline:
        rows = query("SELECT status, count() FROM messages GROUP BY status")
        found = {status: int(count) for status, count in rows}
    print(f"\nposts                {report['posts']:>9,}, by response {report['answers']}")
    print(f"events acknowledged  {acknowledged:>9,}, and {unsure} that may or may not be stored")
    print(f"events in ClickHouse {stored:>9,}, lost {max(0, acknowledged - stored)}")
    print(f"messages             {sum(found.values()):>9,}, by status {found}")
    if found != statuses:
        print(f"  expected                      by status {statuses}")
    return acknowledged <= stored <= acknowledged + unsure and (found == statuses or unsure > 0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=50, help="posts per second (50)")
    parser.add_argument("--keep", action="store_true", help="keep it running at the end")
    options = parser.parse_args()
    os.environ["PUBLISH"] = f"127.0.0.1:{free_port()}"
    compose("down", "--volumes")  # remains of an aborted run
    try:
        compose("build", "gateway")
        log("image built")
        compose("up", "--wait")
        log("all services healthy")
        post_sample()
        simulator = Simulator(options.rate)
        inject_faults()
        passed = check(simulator.report())
        log("passed" if passed else "FAILED")
        return 0 if passed else 1
    finally:
        if not options.keep:
            subprocess.run(["docker", "rm", "--force", SIMULATOR], capture_output=True)
            compose("down", "--volumes")


if __name__ == "__main__":
    sys.exit(main())
