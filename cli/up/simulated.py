"""Automatic responses of `postbacks up --simulate`: a simulated provider takes them, and no other one.

Its ledger is a SQLite file of each run, see `simulator/send_ledger.py`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from cli.up.stack import PROVIDER, Endpoints
from gateway.auth.accounts import DEFAULT_ACCOUNT
from runtime.errors import InvalidSetting
from runtime.settings import PREFIX, Settings
from runtime.supervisor import Service
from streams.respond.rules import Rules


def with_simulated_answers(settings: Settings, rules: Rules, file: Path) -> Settings:
    """The settings, such that answers are sent by default.

    Raises:
        InvalidSetting: no rule is for what is simulated.
    """
    accounts = {rule.account for rule in rules.rules}
    if DEFAULT_ACCOUNT not in accounts:
        raise InvalidSetting(
            f"--simulate posts for the account {DEFAULT_ACCOUNT}, but the rules of {file} are for "
            f"{', '.join(sorted(accounts))}: leave out `account`"
        )
    if "respond" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"respond": "on"})


def simulated_answers(responder: Service, endpoints: Endpoints, gateway: str) -> tuple[Service, ...]:
    """The simulated provider, and the responder such that all of its answers go there.

    Args:
        gateway: URL of the gateway, which gets everything about the answers.
    """
    own = {
        "PROVIDER": f"http://{endpoints.provider}",
        "LICENSE_KEY": "simulated",
        "SUBMISSION_URL": f"{gateway}/submission",
        "STATUS_POSTBACK_URL": f"{gateway}/postback",
    }
    environment = {PREFIX + name: value for name, value in own.items()}
    return (
        _provider(endpoints, f"{gateway}/postback"),
        replace(responder, environment={**responder.environment, **environment}),
    )


def _provider(endpoints: Endpoints, url: str) -> Service:
    folder = endpoints.data / PROVIDER
    folder.mkdir(exist_ok=True)
    ledger = folder / f"ledger-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.sqlite"
    arguments = ("cli", "simulate", "--listen", endpoints.provider, "--url", url, "--ledger", str(ledger))
    return Service(PROVIDER, arguments, stderr=asyncio.subprocess.STDOUT)  # there it prints that it listens
