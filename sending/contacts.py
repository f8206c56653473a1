"""Asks the gateway whether a number may be written to. Only an answer of `ok` ever means that it may.

The number is in the URL, so neither URLs nor the texts of the HTTP client's errors, which quote them, are
logged, returned or raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import aiohttp
from msgspec import DecodeError, Struct, json
from pydantic import SecretStr

from runtime.phone_number import canonical
from runtime.verdict import Judgement
from sending.sms import OutgoingSms

#: Seconds for a whole question.
TIMEOUT = 1.0
#: Answers from older data are none: what was replied since then may be a STOP.
MAX_ANSWER_AGE = timedelta(minutes=5)


class ContactAnswer(Struct, frozen=True, kw_only=True):
    """What the gateway says about a number."""

    number: str
    verdict: Judgement
    #: Of the event that decides, null if none does: its time, its words, and the number of ours that it was
    #: about, empty if that is unknown.
    since: datetime | None = None
    words: str | None = None
    own_number: str | None = None
    #: Up to when the gateway's data is complete.
    as_of: datetime


@dataclass(frozen=True)
class Unchecked:
    """There is no valid answer about a number, so nothing may be sent to it."""

    reason: str
    #: Whether this is about the number alone, and not about the gateway or its settings.
    is_about_number: bool = False


class NoAnswer(Exception):
    """The gateway does not answer at present, or from data that is too old; retry. The text says why."""


_decode = json.Decoder(ContactAnswer).decode


class ContactClient:
    """A client of the gateway's `GET /contact/NUMBER`. Use as a context; questions may run concurrently."""

    def __init__(
        self,
        url: str,
        token: SecretStr,
        *,
        timeout: float = TIMEOUT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """
        Args:
            url: of the gateway's `/contact`.
            token: a read token of the account.
            timeout: seconds for a whole question, at most.
        """
        self._url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Authorization": f"Bearer {self._token.get_secret_value()}", "User-Agent": "postbacks"},
            timeout=aiohttp.ClientTimeout(total=self._timeout),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session
        await self._session.close()

    async def ask(self, sms: OutgoingSms) -> ContactAnswer | Unchecked:
        """Ask once whether a message may be sent to its recipient.

        Raises:
            NoAnswer: retry.
        """
        assert self._session, "use the client as a context"
        parameters = {"from": sms.from_number} if sms.from_number else {}
        try:
            async with self._session.get(
                f"{self._url}/{sms.to_number}", params=parameters, allow_redirects=False
            ) as response:
                status, body = response.status, await response.read()
        except TimeoutError:
            raise NoAnswer(f"the gateway does not answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(f"the gateway does not answer ({type(error).__name__})") from None
        return read_answer(status, body, sms.to_number, self._now())


def read_answer(status: int, body: bytes, number: str, now: datetime) -> ContactAnswer | Unchecked:
    """Read the response to the question about `number`.

    Raises:
        NoAnswer: there is none at present, or it is too old.
    """
    if status == 429 or status >= 500:
        raise NoAnswer(f"the gateway answers with HTTP status {status}")
    if status == 400:
        return Unchecked("the gateway does not accept it as a phone number", is_about_number=True)
    if status == 404:
        return Unchecked("the gateway does not know POSTBACKS_READ_TOKEN, or POSTBACKS_CONTACT_URL is wrong")
    if status != 200:
        return Unchecked(f"the gateway answers with HTTP status {status}")
    try:
        answer = _decode(body)
    except (DecodeError, UnicodeDecodeError):
        return Unchecked("the gateway's answer is not one about a contact; is POSTBACKS_CONTACT_URL right?")
    if canonical(answer.number) != canonical(number):
        return Unchecked("the gateway's answer is about another number")
    if answer.as_of.tzinfo is None:
        return Unchecked("the gateway's answer has a time without a zone")
    if (age := now - answer.as_of) > MAX_ANSWER_AGE:
        raise NoAnswer(f"the gateway's data is {age.total_seconds():,.0f} s old")
    if age < -MAX_ANSWER_AGE:  # old data would pass for new
        raise NoAnswer(f"the gateway's clock is {-age.total_seconds():,.0f} s ahead of this one")
    return answer
