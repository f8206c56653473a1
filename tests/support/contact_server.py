"""A server that answers as the gateway's `/contact`: from what a test says about numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from gateway.postback import format_time
from runtime.phone_number import canonical
from runtime.verdict import Judgement

TOKEN = "read-token"


@dataclass
class ContactServer:
    #: Of the server's `/contact`.
    url: str = ""
    #: By canonical number; others are ok.
    verdicts: dict[str, Judgement] = field(default_factory=dict)
    #: How old the data is.
    age: timedelta = timedelta()
    #: Statuses of the next responses, before any answer.
    failures: list[int] = field(default_factory=list)
    #: Number and own number of each question.
    asked: list[tuple[str, str]] = field(default_factory=list)
    #: Called at each question.
    on_question: Callable[[], object] = lambda: None

    async def answer(self, request: web.Request) -> web.Response:
        number, own = request.match_info["number"], request.query.get("from", "")
        self.asked.append((number, own))
        self.on_question()
        if self.failures:
            return web.Response(status=self.failures.pop(0), headers={"Retry-After": "1"})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=404)
        verdict = self.verdicts.get(canonical(number), "ok")
        at = "2026-11-23T12:00:00.000Z"
        decides = {} if verdict == "ok" else {"since": at, "words": "Stop \x1b[0m.", "own_number": "74121"}
        return web.json_response(
            {
                "account": "default",
                "number": canonical(number),
                "verdict": verdict,
                "since": None,
                "words": None,
                "own_number": None,
                "as_of": format_time(datetime.now(UTC) - self.age),
            }
            | decides
        )


@asynccontextmanager
async def contact_server() -> AsyncIterator[ContactServer]:
    """Run the server for the block."""
    server, app = ContactServer(), web.Application()
    app.router.add_get("/contact/{number}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port, *_ = runner.addresses[0]
        server.url = f"http://{host}:{port}/contact"
        yield server
    finally:
        await runner.cleanup()
