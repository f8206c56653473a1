"""How `postbacks send` checks recipients: by the gateway's answers, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cli.progress import ProgressBars
from cli.up.welcome import local_url
from runtime.errors import InvalidSetting
from runtime.settings import Settings
from sending.contact_check import RETRY_TIMEOUT, ContactCheck, Withheld, check_rows
from sending.contacts import ContactClient, Unchecked
from sending.rows import SendRow

#: Seconds for which a dry run retries while the gateway does not answer.
PREVIEW_RETRY_TIMEOUT = 3.0
NO_TOKEN = (
    "POSTBACKS_READ_TOKEN is not set: with it the gateway is asked which numbers have opted out. "
    "`postbacks token --read` prints it. With --unchecked, numbers that have opted out are sent to as well"
)


@dataclass(frozen=True)
class Recipients:
    """Opens the check of a run, or of a dry run."""

    #: None: not checked.
    client: ContactClient | None
    include_suspected: bool

    @classmethod
    def of(cls, settings: Settings, include_suspected: bool) -> Recipients:
        """Those that the gateway answers about.

        Raises:
            InvalidSetting: there is no read token.
        """
        if not settings.read_token.get_secret_value():
            raise InvalidSetting(NO_TOKEN)
        url = settings.contact_url or f"{local_url(settings.listen)}/contact"
        return cls(ContactClient(url, settings.read_token), include_suspected)

    @asynccontextmanager
    async def open_check(
        self, stop: asyncio.Event, retry_timeout: float = RETRY_TIMEOUT
    ) -> AsyncIterator[ContactCheck | None]:
        """Connect for the block."""
        if self.client is None:
            yield None
            return
        async with self.client as client:
            yield ContactCheck(
                client, stop, include_suspected=self.include_suspected, retry_timeout=retry_timeout
            )


async def preview(
    rows: Sequence[SendRow], settings: Settings, include_suspected: bool
) -> dict[str, Withheld]:
    """What a dry run says about recipients: the rows that would not be sent, by id; see `check_rows`."""
    try:
        recipients = Recipients.of(settings, include_suspected)
    except InvalidSetting:
        return {"": Unchecked("POSTBACKS_READ_TOKEN is not set")}
    stop = asyncio.Event()
    async with recipients.open_check(stop, PREVIEW_RETRY_TIMEOUT) as check:
        assert check
        with ProgressBars() as progress, progress.step("Checking recipients"):
            return await check_rows(check, rows, stop)
