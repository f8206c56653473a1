"""The load generator: posts bodies over kept-alive connections, and says in JSON what came of it.

`python -m benchmarks.harness.load URL BODIES`. Without `--rate` each connection posts its next body as soon
as it has its answer (closed loop). With it bodies go out when they are due, whatever the answers do (open
loop), and the time of an answer counts from then: a gateway that stalls is not asked less. It is written on
bare sockets, as what it uses up of a small machine is taken from those who are measured.
"""

from __future__ import annotations

import select
import sys
import time
from argparse import ArgumentParser
from array import array
from collections import deque
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from msgspec import Struct, json

from benchmarks.harness.connection import Connection
from benchmarks.harness.payloads import read_bodies

CONNECTIONS = 64
#: Without any answer for so long, something hangs.
STALL_SECONDS = 30.0


class Load(Struct, kw_only=True):
    """What came of it; times of answers in milliseconds."""

    #: How many answers of each status.
    statuses: dict[str, int]
    #: From the first request to the last answer.
    seconds: float
    p50: float
    p99: float
    p999: float
    #: What the generator itself used up.
    cpu_seconds: float

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class Generator:
    """Posts requests one after the other over all connections."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._connections = [Connection(address) for _ in range(CONNECTIONS)]
        self._of_file = {each.socket.fileno(): each for each in self._connections}
        self._free = deque(self._connections)
        self._epoll = select.epoll()
        for file in self._of_file:
            self._epoll.register(file, select.EPOLLIN)
        self._sent = 0
        self.statuses: dict[str, int] = {}
        self.latencies = array("d")
        #: When (monotonic) each request was answered.
        self.answered_at = array("d", bytes(8 * len(requests)))

    def closed_loop(self, seconds: float) -> None:
        """Until all are posted or the time is over."""
        end = monotonic() + seconds
        while True:
            now = monotonic()
            while self._free and now < end and self._sent < len(self._requests):
                self._post(now)
            if len(self._free) == len(self._connections):
                return
            self._hear(STALL_SECONDS)

    def open_loop(self, seconds: float, rate: float) -> None:
        """Until all that are due in this time are posted and answered."""
        began, total = monotonic(), min(len(self._requests), int(seconds * rate))
        while self._sent < total or len(self._free) < len(self._connections):
            due = min(total, ceil((monotonic() - began) * rate))
            while self._free and self._sent < due:
                self._post(began + self._sent / rate)
            if self._free and self._sent < total:
                # epoll's own time-out counts in milliseconds, that of select in microseconds
                pause = began + self._sent / rate - monotonic()
                if select.select([self._epoll], [], [], max(0.0, pause))[0]:
                    self._hear(0)
            else:
                self._hear(STALL_SECONDS)

    def _post(self, due: float) -> None:
        connection = self._free.popleft()
        connection.number, connection.due = self._sent, due
        request = self._requests[self._sent]
        if connection.socket.send(request) != len(request):
            raise ConnectionError("the other side takes no request")
        self._sent += 1

    def _hear(self, seconds: float) -> None:
        heard = self._epoll.poll(seconds)
        if not heard:
            raise TimeoutError(f"no answer for {seconds:g} s")
        for file, _ in heard:
            connection = self._of_file[file]
            if status := connection.status():
                now = monotonic()
                self.latencies.append(now - connection.due)
                self.answered_at[connection.number] = now
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self._free.append(connection)


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.harness.load")
    parser.add_argument("url")
    parser.add_argument("bodies", type=Path, help="as benchmarks.harness.payloads writes them")
    parser.add_argument("--seconds", type=float, default=10.0, help="for so long; default 10")
    parser.add_argument("--rate", type=float, help="requests a second; default: as many as are answered")
    parser.add_argument("--times", type=Path, help="where to write when (monotonic) each was answered")
    given = parser.parse_args()
    url = urlsplit(given.url)
    assert url.hostname
    assert url.port
    requests = [request(url.netloc, url.path, body) for body in read_bodies(given.bodies)]
    generator = Generator((url.hostname, url.port), requests)
    began, used = monotonic(), time.process_time()
    if given.rate:
        generator.open_loop(given.seconds, given.rate)
    else:
        generator.closed_loop(given.seconds)
    took, used = monotonic() - began, time.process_time() - used
    if given.times:
        given.times.write_bytes(generator.answered_at.tobytes())
    ordered = sorted(generator.latencies)
    p50, p99, p999 = (1000 * ordered[int(part * len(ordered))] for part in (0.5, 0.99, 0.999))
    told = Load(statuses=generator.statuses, seconds=took, p50=p50, p99=p99, p999=p999, cpu_seconds=used)
    sys.stdout.buffer.write(json.encode(told) + b"\n")


def request(host: str, path: str, body: bytes) -> bytes:
    """As the provider's client prints it, but that it does not ask whether it may send the body."""
    head = (
        f"POST {path} HTTP/1.1\r\n"
        "User-Agent: CDYNE SMSv2\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Host: {host}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: Keep-Alive\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main()
