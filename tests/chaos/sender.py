"""`postbacks send --csv` as a process that is killed and repeated."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sending.intent_log import read_log
from sending.intents import IntentState, SendStatus
from tests.chaos.cluster import frozen_code
from tests.support.process import environment
from tests.support.wait import eventually

#: Labels of the report of a run, and its list of unknown sends, which is cut off.
_UNKNOWN = re.compile(r"^Unknown(?: before)? +([0-9,]+)", re.MULTILINE)
_LISTED = re.compile(r"^  .*ReferenceID (\S+): ", re.MULTILINE)
_MORE = re.compile(r"^  and ([0-9,]+) more", re.MULTILINE)


@dataclass(frozen=True)
class PrintedUnknown:
    """What a run printed about sends whose outcome is not known."""

    #: In its table.
    counted: int
    references: frozenset[str]
    #: In its list, with those that are not shown.
    listed: int

    @classmethod
    def read(cls, output: str) -> PrintedUnknown:
        references = frozenset(_LISTED.findall(output))
        _, _, listing = output.partition("Unknown, as no answer came")
        more = _MORE.search(listing)
        return cls(
            sum(_number(count) for count in _UNKNOWN.findall(output)),
            references,
            len(references) + (_number(more[1]) if more else 0),
        )


class Sender:
    """Runs of the command over one file, one at a time."""

    def __init__(self, file: Path, rate: float, settings: Mapping[str, object]) -> None:
        self._arguments = ["send", "--csv", str(file), "--rate", f"{rate:g}"]
        self._arguments += [] if settings["read_token"] else ["--unchecked"]
        self._log = file.with_name(f"{file.name}.sends")
        self._output = file.with_suffix(".log")
        self._environment = environment(**settings)
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0
        self._logged_before = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a run; its output replaces that of the one before."""
        self._logged_before = self._logged()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli", *self._arguments],
                cwd=frozen_code(),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def wait_sending(self) -> None:
        """Wait until the run has sent something, or has ended."""
        await eventually(
            lambda: self._logged() > self._logged_before or not self.is_running, "the client sends"
        )

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()
        self.kills += 1

    def _logged(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    async def wait(self) -> int:
        """Wait until the run ends; return its exit status."""
        assert self._process
        return await asyncio.to_thread(self._process.wait)

    def read_state(self) -> IntentState:
        """Read the intent log."""
        return read_log(self._log)

    def count_answered(self) -> int:
        """The rows whose answer the intent log has."""
        statuses = [row.status for row in self.read_state().rows.values()]
        return len(statuses) - statuses.count(SendStatus.UNKNOWN) - statuses.count(SendStatus.NOT_SENT)

    def read_output(self) -> str:
        return self._output.read_text()


def _number(text: str) -> int:
    return int(text.replace(",", ""))
