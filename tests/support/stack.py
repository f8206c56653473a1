"""A running `postbacks up`, as tests need it: on free ports, its output read along, commands beside it."""

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

from cli.up.stack_file import FILE
from runtime.clickhouse.query import QueryFailed, run_query
from tests.support.process import ROOT, child_processes, inherited_environment

SECONDS = 120.0


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """That of the tests, with these settings and no others."""
    return {**inherited_environment(), **settings}


def any_ports(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Options of `postbacks up` that take free ports, for engines that the settings do not name."""
    options: tuple[str, ...] = ("--port", "0")
    for option, setting in (
        ("--kafka-port", "POSTBACKS_KAFKA"),
        ("--clickhouse-port", "POSTBACKS_CLICKHOUSE"),
    ):
        options += () if setting in settings else (option, "0")
    return options


def command(*arguments: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `postbacks arguments…` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


class Output:
    """The lines that a process writes, read along by a thread."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout
        for line in self.popen.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def until(self, text: str, times: int = 1) -> str:
        """The line with the text, once so many lines have it."""
        with self._news:
            found = self._news.wait_for(lambda: self._ended or self._count(text) >= times, SECONDS)
            if not found or self._count(text) < times:
                raise AssertionError(f"{text!r} was not said {times} times:\n" + "\n".join(self.lines))
            return next(line for line in self.lines if text in line)

    def _count(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; its exit status."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status. One that does not end fails the test."""
        try:
            return self.popen.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("It did not end:\n" + "\n".join(self.lines)) from None
        finally:
            self._reader.join(10)


class Stack(Output):
    """A stack that is ready, with its data in `data`; `settings` are those by which it is found."""

    def __init__(self, popen: subprocess.Popen[str], data: Path, settings: Mapping[str, str]) -> None:
        super().__init__(popen)
        self.until("Ctrl-C stops everything in good order")
        page = "\n".join(self.lines)
        self.url = page.split("The PostBackURL is\n\n")[1].split()[0]
        self.data = data
        self._given = settings
        lines = (data / FILE).read_text().splitlines()
        self.settings = {**settings, **dict(line.split("=", 1) for line in lines)}

    def post(self, body: str) -> int:
        """What the gateway answers to a postback; while nobody listens the provider tries again."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                with urlopen(Request(self.url, body.encode()), timeout=SECONDS) as answer:
                    return int(answer.status)
            except URLError:
                assert time.monotonic() < deadline, "nobody listens"
                time.sleep(0.05)  # nobody tells when a port opens

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of `postbacks` against this stack, found by its folder."""
        return command("--data", str(self.data), *arguments, settings=self._given)

    def query(self, query: str) -> str:
        """ClickHouse's answer as tab-separated text."""
        url = self.settings["POSTBACKS_CLICKHOUSE"]
        return b"".join(run_query(url, query, "TSV")).decode().strip()

    def wait_for(self, query: str, answer: str, seconds: float = SECONDS) -> float:
        """Ask until this is the answer; after how many seconds it was."""
        began = time.monotonic()
        while (got := self._try(query)) != answer:
            assert time.monotonic() - began < seconds, f"{query}: {got!r}, not {answer!r}"
            time.sleep(0.02)  # nobody tells when an answer of SQL changes
        return time.monotonic() - began

    def _try(self, query: str) -> str:
        try:
            return self.query(query)
        except QueryFailed as error:  # it has just been killed, say
            return str(error)

    def children(self) -> dict[str, int]:
        """The processes that it has started, and their ids, by the first words of their commands."""
        found = {}
        for pid in child_processes(self.popen.pid):
            words = _module_and_arguments(pid)
            found[words[1] if words[0] == "embedded" else words[0]] = pid
        return found


def _module_and_arguments(pid: int) -> list[str]:
    """What follows -m in a process's command line, which is empty while the process is being started."""
    deadline = time.monotonic() + SECONDS
    while "-m" not in (arguments := Path(f"/proc/{pid}/cmdline").read_text().split("\0")):
        assert time.monotonic() < deadline, f"process {pid} has the command line {arguments}"
        time.sleep(0.01)  # there is no event for it
    return arguments[arguments.index("-m") + 1 :]


@contextmanager
def beside(*arguments: str, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`postbacks arguments…` while the block runs, all that it writes in one pipe; killed at the end."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(settings),
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
    """`postbacks up` while the block runs, ready."""
    given = settings or {}
    with beside("up", *any_ports(given), "--data", str(data), *options, settings=given) as popen:
        yield Stack(popen, data, given)


@contextmanager
def tail(up: Stack, *options: str) -> Iterator[Output]:
    """`postbacks tail` of a stack while the block runs, following."""
    with beside("--data", str(up.data), "tail", *options, settings={}) as popen:
        output = Output(popen)
        output.until("Following messages")
        yield output
