"""`postbacks send`, in this process or in its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner, Result

from cli.__main__ import postbacks
from runtime.settings import load_settings
from tests.support.gateway import RunningGateway
from tests.support.process import run_module
from tests.support.raw_server import RawServer

KEY = "f01d89fd-5155-5455-5585-e84ab8de8591"


def invoke(*arguments: object, **settings: object) -> Result:
    """Run the command in this process."""
    variables = {f"POSTBACKS_{name.upper()}": str(value) for name, value in settings.items()}
    return CliRunner().invoke(
        postbacks, ["send", *map(str, arguments)], obj=lambda: load_settings(variables), terminal_width=80
    )


async def send(
    provider: RawServer,
    gateway: RawServer | RunningGateway,
    data: Path,
    *arguments: object,
    **settings: object,
) -> tuple[int, str, str]:
    """Run the command to its end; return its status and what it printed.

    Recipients are checked only if there is a `read_token`.
    """
    unchecked = [] if "read_token" in settings else ["--unchecked"]
    defaults = {
        "license_key": KEY,
        "provider": f"http://{provider.address}",
        "submission_url": f"http://{gateway.address}/submission/TOKEN",
        "data": data,
    }
    done = await asyncio.to_thread(
        run_module, "cli", "send", *unchecked, *map(str, arguments), **(defaults | settings)
    )
    return done.returncode, done.stdout, done.stderr
