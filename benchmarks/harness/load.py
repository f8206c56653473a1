"""The load generator: posts bodies over keep-alive connections, and prints a `Load` as JSON.

`python -m benchmarks.harness.load URL BODIES`. Without `--rate` each connection posts its next body as soon
as it has its response (closed loop). With it bodies are posted when they are due, however late the responses
are (open loop), and latency counts from the due time, so that a stalled gateway gets no less load. It uses
bare sockets, as it shares the CPU of a small machine with what it measures.
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

from benchmarks.harness.connection import LoadConnection
from benchmarks.harness.payloads import read_bodies

CONNECTIONS = 64
#: Seconds without any response after which the run fails.
STALL_TIMEOUT = 30.0


class Load(Struct, kw_only=True):
    """The responses of a run; latencies in milliseconds."""

    #: Number of responses by status.
    statuses: dict[str, int]
    #: From the first request to the last response.
    seconds: float
    p50: float
    p99: float
    p999: float
    #: Of the load generator itself.
    cpu_seconds: float

    @property
    def responses(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.responses / self.seconds


class Generator:
    """Posts each request once, in order, over all connections."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._connections = [LoadConnection(address) for _ in range(CONNECTIONS)]
        self._by_file = {connection.socket.fileno(): connection for connection in self._connections}
        self._free = deque(self._connections)
        self._epoll = select.epoll()
        for file in self._by_file:
            self._epoll.register(file, select.EPOLLIN)
        self._sent = 0
        self.statuses: dict[str, int] = {}
        self.latencies = array("d")
        #: When (monotonic) the response to each request arrived.
        self.responded_at = array("d", bytes(8 * len(requests)))

    def closed_loop(self, seconds: float) -> None:
        """Post for `seconds`, or until all are posted; return once all responses are there."""
        end = monotonic() + seconds
        while True:
            now = monotonic()
            while self._free and now < end and self._sent < len(self._requests):
                self._post(now)
            if len(self._free) == len(self._connections):
                return
            self._receive(STALL_TIMEOUT)

    def open_loop(self, seconds: float, rate: float) -> None:
        """Post all that are due within `seconds` at this rate; return once all responses are there."""
        began, total = monotonic(), min(len(self._requests), int(seconds * rate))
        while self._sent < total or len(self._free) < len(self._connections):
            due = min(total, ceil((monotonic() - began) * rate))
            while self._free and self._sent < due:
                self._post(began + self._sent / rate)
            if self._free and self._sent < total:
                # the timeout of epoll has a resolution of milliseconds, that of select of microseconds
                pause = began + self._sent / rate - monotonic()
                if select.select([self._epoll], [], [], max(0.0, pause))[0]:
                    self._receive(0)
            else:
                self._receive(STALL_TIMEOUT)

    def _post(self, due: float) -> None:
        connection = self._free.popleft()
        connection.number, connection.due = self._sent, due
        request = self._requests[self._sent]
        if connection.socket.send(request) != len(request):
            raise ConnectionError("the gateway does not read the request")
        self._sent += 1

    def _receive(self, timeout: float) -> None:
        ready = self._epoll.poll(timeout)
        if not ready:
            raise TimeoutError(f"no response for {timeout:g} s")
        for file, _ in ready:
            connection = self._by_file[file]
            if status := connection.read_status():
                now = monotonic()
                self.latencies.append(now - connection.due)
                self.responded_at[connection.number] = now
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self._free.append(connection)


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.harness.load")
    parser.add_argument("url")
    parser.add_argument("bodies", type=Path, help="a file of benchmarks.harness.payloads.write_bodies")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration; default 10")
    parser.add_argument("--rate", type=float, help="requests per second; default: closed loop")
    parser.add_argument("--times", type=Path, help="file for the times (monotonic) of the responses")
    arguments = parser.parse_args()
    url = urlsplit(arguments.url)
    assert url.hostname
    assert url.port
    requests = [build_request(url.netloc, url.path, body) for body in read_bodies(arguments.bodies)]
    generator = Generator((url.hostname, url.port), requests)
    began, cpu_began = monotonic(), time.process_time()
    if arguments.rate:
        generator.open_loop(arguments.seconds, arguments.rate)
    else:
        generator.closed_loop(arguments.seconds)
    seconds, cpu = monotonic() - began, time.process_time() - cpu_began
    if arguments.times:
        arguments.times.write_bytes(generator.responded_at.tobytes())
    ordered = sorted(generator.latencies)
    p50, p99, p999 = (1000 * ordered[int(part * len(ordered))] for part in (0.5, 0.99, 0.999))
    load = Load(statuses=generator.statuses, seconds=seconds, p50=p50, p99=p99, p999=p999, cpu_seconds=cpu)
    sys.stdout.buffer.write(json.encode(load) + b"\n")


def build_request(host: str, path: str, body: bytes) -> bytes:
    """Build a request as the provider's client does, but without `Expect: 100-continue`."""
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
