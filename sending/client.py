"""A client of AdvancedSMSsend and SimpleSMSsendWithPostback that sends each request at most once.

The licence key is in the body of the former and in the URL of the latter. So neither URLs nor the texts of
the HTTP client's errors, which quote them, are logged, returned or raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr

from sending.answers import UndecodableAnswer
from sending.outcomes import Answered, NotSent, Rejected, SendOutcome, Unknown
from sending.single_attempt import AttemptFailed, SingleAttempt, single_attempt_trace
from sending.sms import OutgoingSms, encode_advanced, simple_parameters

#: Seconds to connect, and for the whole call.
CONNECT_TIMEOUT, TIMEOUT = 5.0, 30.0
#: Seconds a connection may be idle: less than servers usually allow, as a request on a connection that the
#: server closes at the same moment has an unknown outcome.
KEEPALIVE_TIMEOUT = 2.0
MAX_ANSWER_BYTES = 256 * 1024
#: Statuses that mean that a call was not processed. Others may come after it was processed: 302 and 303 lead
#: to a result or an error page, 408 and 5xx may be a proxy's.
REJECTIONS = frozenset({301, 307, 308, 400, 401, 403, 404, 405, 411, 413, 414, 415, 429})

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "postbacks"}


class ProviderClient:
    """Use as a context. Calls may run concurrently, on any number of connections."""

    def __init__(
        self,
        url: str,
        license_key: SecretStr,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        timeout: float = TIMEOUT,
    ) -> None:
        """
        Args:
            url: of the API, without the name of a call.
            connect_timeout: seconds to connect, at most.
            timeout: seconds for a whole call, at most.

        Raises:
            ValueError: the URL or the licence key is wrong; says what is allowed.
        """
        _check_url(url)
        if not license_key.get_secret_value():
            raise ValueError("the licence key must not be empty")
        self._url = url.rstrip("/")
        self._license_key = license_key
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=self._timeout, connect=self._connect_timeout),
            trace_configs=[single_attempt_trace()],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session
        await self._session.close()

    async def send(self, messages: Sequence[OutgoingSms]) -> SendOutcome:
        """Send messages in one call of AdvancedSMSsend.

        Raises:
            ValueError: no message, or some in GSM-7 and some in UCS-2.
        """
        body = encode_advanced(messages, self._license_key.get_secret_value())
        headers = {"Content-Type": "application/json"}
        return await self._call("POST", "AdvancedSMSsend", data=body, headers=headers)

    async def send_simple(self, message: OutgoingSms) -> SendOutcome:
        """Send a message by SimpleSMSsendWithPostback.

        Raises:
            ValueError: the message has a field that only AdvancedSMSsend takes.
        """
        parameters = simple_parameters(message, self._license_key.get_secret_value())
        return await self._call("GET", "SimpleSMSsendWithPostback", params=parameters)

    async def _call(self, method: str, name: str, **options: Any) -> SendOutcome:
        assert self._session, "use the client as a context"
        attempt = SingleAttempt()
        try:
            async with self._session.request(
                method,
                f"{self._url}/{name}",
                allow_redirects=False,
                middlewares=(attempt,),
                trace_request_ctx=attempt,
                **options,
            ) as response:
                if response.status in REJECTIONS:
                    return Rejected(response.status)
                if not 200 <= response.status < 300:
                    return Unknown(f"the provider answered with HTTP status {response.status}")
                return Answered.of(await _read_body(response.content))
        except UndecodableAnswer as error:
            return Unknown(str(error))
        # Whatever it is: once the request may have left, the outcome is not known.
        except Exception as error:
            reason = self._explain(error.error if isinstance(error, AttemptFailed) else error)
        return Unknown(reason) if attempt.may_have_left else NotSent(reason)

    def _explain(self, error: Exception) -> str:
        """A reason without the texts of errors that may contain a URL."""
        match error:
            case aiohttp.ConnectionTimeoutError():
                return f"no connection within {self._connect_timeout:g} s"
            case TimeoutError():
                return f"no complete answer within {self._timeout:g} s"
            case aiohttp.ClientConnectorCertificateError():
                return f"the provider's certificate is not valid: {error.certificate_error.args[-1]}"
            case aiohttp.ClientOSError() if error.strerror:
                return error.strerror
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | aiohttp.ClientPayloadError():
                return "the connection was closed before the answer was complete"
            case aiohttp.ClientResponseError():
                return "the answer is not valid HTTP"
            case _:
                return type(error).__name__


async def _read_body(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise UndecodableAnswer(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(body)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    try:
        valid = parts.port != 0  # raises, if it is out of range
    except ValueError:
        valid = False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if not (valid and plain and parts.scheme in ("http", "https") and parts.hostname):
        raise ValueError("the URL of the provider's API must be https://host/path, without user and query")
