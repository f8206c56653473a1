#!/usr/bin/env python3
"""Holds docker-compose.yml to what it promises: start, post, ask, and lose nothing whatever is restarted.

    deploy/verify.py [--rate 50] [--keep]

It brings the compose file up as a project of its own (its volumes, a free port), posts the provider's sample,
then lets the simulated provider post while every service is restarted, killed, and Kafka is away with the
gateway made anew meanwhile. At the end what was acknowledged must be what ClickHouse has: by event, and by
message and status. Then it takes all of it down again, except with --keep.

Needs Docker with compose, and the images: the official ones, or stand-ins of the same names (deploy/standin).
Exit status: 0 all held, 1 something did not.
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
BETWEEN, OUTAGE = 3, 8
#: Seconds until what was acknowledged must be in ClickHouse.
SETTLED = 180

began = time.monotonic()


def say(line: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)


def compose(*arguments: str) -> str:
    """The standard output of `docker compose arguments…`; ends all, with what it said, when it fails."""
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


def ask(question: str) -> list[list[str]]:
    """The rows of the answer, without their head."""
    return [line.split("\t") for line in postbacks("sql", question).splitlines()[1:]]


def ready(service: str) -> None:
    compose("up", "--wait", "--no-deps", "--no-recreate", service)


def restart(service: str) -> None:
    compose("restart", service)
    ready(service)


def kill(service: str) -> None:
    compose("kill", service)
    ready(service)


def outage() -> None:
    """Kafka is away, and the gateway that spooled meanwhile is replaced: only its volume stays."""
    compose("stop", "kafka")
    time.sleep(OUTAGE)
    compose("up", "--detach", "--no-deps", "--force-recreate", "gateway")
    time.sleep(BETWEEN)
    for service in ("kafka", *STAGES):
        ready(service)


class Simulator:
    """The simulated provider, inside the network."""

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
        """Let it finish what is in hand, and say what it sent."""
        subprocess.run(["docker", "kill", "--signal", "TERM", SIMULATOR], check=True, capture_output=True)
        said, _ = self._process.communicate(timeout=120)
        counts: dict[str, Any] = json.loads(said)
        return counts


def post_sample() -> None:
    url = postbacks("token")
    with urllib.request.urlopen(url, SAMPLE.encode(), timeout=30) as answer:
        say(f"the provider's sample: {answer.status}")
    while not ask(f"SELECT status FROM messages WHERE message_id = '{SAMPLE_ID}'"):
        pass  # each question takes about a second
    say("and it is in SQL")


def faults() -> None:
    for fault in (restart, kill):
        for service in SERVICES:
            say(f"{fault.__name__} {service}")
            fault(service)
            time.sleep(BETWEEN)
    say("outage of kafka, the gateway made anew meanwhile")
    outage()


def judge(report: dict[str, Any]) -> bool:
    """Whether ClickHouse comes to exactly what was acknowledged; the sample is one event more."""
    unsure = int(report["unsure"])
    least = int(report["events"]) + 1
    deadline = time.monotonic() + SETTLED
    stored = 0
    while stored < least and time.monotonic() < deadline:
        stored = int(ask("SELECT uniqExact(event_id) FROM postbacks")[0][0])
    statuses = report["statuses"] | {"sent": report["statuses"].get("sent", 0) + 1}
    found: dict[str, int] = {}
    while found != statuses and time.monotonic() < deadline:
        found = {status: int(n) for status, n in ask("SELECT status, count() FROM messages GROUP BY status")}
    print(f"\nposts                {report['posts']:>9,}, answered {report['answers']}")
    print(f"events acknowledged  {least:>9,}, and {unsure} that may be there or not")
    print(f"events in ClickHouse {stored:>9,}, lost {max(0, least - stored)}")
    print(f"messages             {sum(found.values()):>9,}, by status {found}")
    if found != statuses:
        print(f"  that must be                  by status {statuses}")
    return least <= stored <= least + unsure and (found == statuses or unsure > 0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=50, help="posts a second (50)")
    parser.add_argument("--keep", action="store_true", help="leave it running at the end")
    chosen = parser.parse_args()
    os.environ["PUBLISH"] = f"127.0.0.1:{free_port()}"
    compose("down", "--volumes")  # of a run that was cut off
    try:
        compose("build", "gateway")
        say("the image is built")
        compose("up", "--wait")
        say("up, and all is healthy")
        post_sample()
        simulator = Simulator(chosen.rate)
        faults()
        held = judge(simulator.report())
        say("held" if held else "DID NOT HOLD")
        return 0 if held else 1
    finally:
        if not chosen.keep:
            subprocess.run(["docker", "rm", "--force", SIMULATOR], capture_output=True)
            compose("down", "--volumes")


if __name__ == "__main__":
    sys.exit(main())
