"""Runs `postbacks up` on free ports, captures its output, and runs other commands against it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from pydantic import SecretStr

from cli.up.stack_file import FILE
from runtime.clickhouse.client import Reader
from runtime.clickhouse.errors import QueryFailed
from tests.support.engines import check_mark
from tests.support.process import ROOT, child_processes, environment, run_module
from tests.support.wait import pause_after

TIMEOUT = 120.0
#: A killed worker stays in its group until this timeout.
SHORT_SESSION = {"POSTBACKS_SESSION_TIMEOUT": "5"}


def free_port_options(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return options of `postbacks up` for free ports, except for engines that the settings configure."""
    options: tuple[str, ...] = ("--port", "0")
    for option, setting in (
        ("--kafka-port", "POSTBACKS_KAFKA"),
        ("--clickhouse-port", "POSTBACKS_CLICKHOUSE"),
    ):
        options += () if setting in settings else (option, "0")
    return options


def command(*arguments: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `postbacks arguments…` and wait until it exits."""
    return run_module("cli", *arguments, **settings)


class Output:
    """The lines of a process's output, read by a thread."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout
        for line in self.popen.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for_line(self, text: str, times: int = 1) -> str:
        """Wait until `times` lines contain the text; return the first of them."""
        with self._changed:
            reached = self._changed.wait_for(lambda: self._ended or self._count(text) >= times, TIMEOUT)
            if not reached or self._count(text) < times:
                raise AssertionError(f"{text!r} was not printed {times} times:\n" + "\n".join(self.lines))
            return next(line for line in self.lines if text in line)

    def _count(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    def send_signal(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it exits; return the status."""
        try:
            return self.popen.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError("The process did not exit:\n" + "\n".join(self.lines)) from None
        finally:
            self._reader.join(10)


class Stack(Output):
    """A ready `postbacks up` on the folder `data`; `settings` include the addresses of its engines."""

    def __init__(self, popen: subprocess.Popen[str], data: Path, settings: Mapping[str, str]) -> None:
        super().__init__(popen)
        self.wait_for_line("Ctrl-C shuts down gracefully")
        page = "\n".join(self.lines)
        self.url = page.split("The PostBackURL is\n\n")[1].split()[0]
        self.data = data
        self._command_settings = settings
        lines = (data / FILE).read_text().splitlines()
        self.settings = {**settings, **dict(line.split("=", 1) for line in lines)}
        self._clickhouse = Reader(SecretStr(self.settings["POSTBACKS_CLICKHOUSE"]))

    def post(self, body: str) -> int:
        """Post a body and return the status; retry while the port is closed, as the provider does."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                with urlopen(Request(self.url, body.encode()), timeout=TIMEOUT) as response:
                    return int(response.status)
            except URLError:
                assert time.monotonic() < deadline, "the port stays closed"
                time.sleep(0.05)  # a port opens without notification

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `postbacks` command, which finds this stack by its folder."""
        return command("--data", str(self.data), *arguments, settings=self._command_settings)

    def query(self, query: str) -> str:
        """Run a query; return the result as tab-separated text."""
        return b"".join(self._clickhouse.query(query, "TSV")).decode().strip()

    def wait_for_result(self, query: str, expected: str, timeout: float = TIMEOUT) -> float:
        """Repeat a query until it has this result; return the seconds it took."""
        began = time.monotonic()
        while True:
            polled = time.monotonic()
            if (result := self._try(query)) == expected:
                return time.monotonic() - began
            assert time.monotonic() - began < timeout, f"{query}: {result!r}, not {expected!r}"
            time.sleep(pause_after(time.monotonic() - polled))  # a result changes without notification

    def _try(self, query: str) -> str:
        try:
            return self.query(query)
        except QueryFailed as error:  # ClickHouse may have been killed
            return str(error)

    def children(self) -> dict[str, int]:
        """Return the ids of its child processes by name."""
        pids = {}
        for pid in child_processes(self.popen.pid):
            words = _module_and_arguments(pid)
            pids[words[1] if words[0] == "embedded" else words[0]] = pid
        return pids


def _module_and_arguments(pid: int) -> list[str]:
    """Return the arguments after -m of a process; wait while it is being started, when there are none."""
    deadline = time.monotonic() + TIMEOUT
    while "-m" not in (arguments := Path(f"/proc/{pid}/cmdline").read_text().split("\0")):
        assert time.monotonic() < deadline, f"process {pid} has the command line {arguments}"
        time.sleep(0.01)  # it changes without notification
    return arguments[arguments.index("-m") + 1 :]


@contextmanager
def start_command(*arguments: str, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run `postbacks arguments…` for the block, with its output in one pipe; kill it at the end."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield popen
    finally:
        popen.kill()
        popen.wait()


@contextmanager
def stack(data: Path, *options: str, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Run `postbacks up` for the block; yield it once it is ready."""
    check_mark()
    settings = settings or {}
    ports = free_port_options(settings)
    with start_command("up", *ports, "--data", str(data), *options, settings=settings) as popen:
        yield Stack(popen, data, settings)


@contextmanager
def tail(up: Stack, *options: str) -> Iterator[Output]:
    """Run `postbacks tail` on a stack for the block; yield it once it follows."""
    with start_command("--data", str(up.data), "tail", *options, settings={}) as popen:
        output = Output(popen)
        output.wait_for_line("Following messages")
        yield output
