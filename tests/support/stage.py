"""A process of the pipeline under test, as its ops port shows it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.support.process import Process
from tests.support.wait import TIMEOUT, eventually

PAGE_TIMEOUT = 30.0


@dataclass(frozen=True)
class RunningStage:
    """A process of the pipeline, and what can be seen of it from outside."""

    process: Process
    #: `host:port` of the ops port.
    ops: str

    def page(self, name: str) -> tuple[int, str]:
        """Return the status and the text of a page; 0 and "" while the port is closed."""
        try:
            with urlopen(f"http://{self.ops}/{name}", timeout=PAGE_TIMEOUT) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def readyz(self) -> str:
        return self.page("readyz")[1]

    async def wait_ready(self, timeout: float = TIMEOUT) -> None:
        """Wait until /readyz reports no problems; fail if the process exits before."""

        def readyz() -> str:
            assert self.process.running, f"it exited with status {self.process.popen.returncode}"
            return self.readyz()

        await eventually(readyz, "ready", lambda text: text == "ready\n", timeout)

    def samples(self) -> dict[str, float]:
        """Return the samples of /metrics by name and labels; fail if the port is closed."""
        status, text = self.page("metrics")
        assert status == 200, f"/metrics answers {status}"
        lines = (line for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        return sum(value for sample, value in self.samples().items() if sample.partition("{")[0] == name)

    async def wait_for_metric(self, name: str, minimum: float) -> None:
        """Wait until a metric is at least `minimum`."""
        await eventually(lambda: self.metric(name), f"{name} >= {minimum:g}", lambda value: value >= minimum)
