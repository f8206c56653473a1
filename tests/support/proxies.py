"""nginx and Caddy as configured in deploy/proxy/, on free ports and with a test certificate."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme

from tests.support.gateway import Connection, free_address

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "proxy"
NAME = "sms.example.com"
START_TIMEOUT = 30.0

NGINX = """
daemon off; pid {home}/pid; error_log {home}/error.log info;
events {{}}
http {{
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    include {home}/site.conf;
}}
"""


class RunningProxy(NamedTuple):
    port: int
    home: Path
    trusted: ssl.SSLContext

    async def wait_for_log(self, text: str) -> str:
        """Wait until the logs contain the text; return them."""
        async with asyncio.timeout(START_TIMEOUT):
            while text not in self.logs():  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # a file changes without notification
        return self.logs()

    def logs(self) -> str:
        """Return the contents of all its log files and its output."""
        files = [*self.home.glob("*.log"), self.home / "output"]
        return "".join(file.read_text(errors="replace") for file in files)

    @asynccontextmanager
    async def connection(self, source: str = "127.0.0.2") -> AsyncIterator[Connection]:
        """Connect from this loopback address."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trusted, server_hostname=NAME, local_addr=(source, 0)
        )
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()


def unavailable_reason(proxy: str) -> str:
    """Return why the proxy cannot run here; an empty string if it can."""
    return "" if _program(proxy) else f"{proxy} not found"


@contextmanager
def open_proxy(proxy: str, gateways: Sequence[str], home: Path) -> Iterator[RunningProxy]:
    """Run `nginx` or `caddy` in front of two gateways (`host:port`) for the block."""
    authority = trustme.CA()
    authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(home / "cert.pem"))
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    port = int(free_address().rpartition(":")[2])
    arguments = (_nginx if proxy == "nginx" else _caddy)(port, gateways, home)
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [str(_program(proxy)), *arguments],
            env={"HOME": str(home)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    running = RunningProxy(port, home, trusted)
    try:
        _wait_open(running, process)
        yield running
    finally:
        process.terminate()
        process.wait()


def _program(proxy: str) -> str | None:
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return shutil.which(proxy, path=f"{Path(sys.executable).parent}:{system}")


def _nginx(port: int, gateways: Sequence[str], home: Path) -> list[str]:
    site = _replace(
        FOLDER / "nginx.conf",
        {
            "127.0.0.1:8080": gateways[0],
            "127.0.0.1:8081": gateways[1],
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            f"/etc/letsencrypt/live/{NAME}/fullchain.pem": f"{home}/cert.pem",
            f"/etc/letsencrypt/live/{NAME}/privkey.pem": f"{home}/cert.pem",
            "/var/log/nginx": str(home),
        },
    )
    (home / "site.conf").write_text(site)
    (home / "nginx.conf").write_text(NGINX.format(home=home))
    return ["-c", f"{home}/nginx.conf", "-p", str(home), "-e", f"{home}/error.log"]


def _caddy(port: int, gateways: Sequence[str], home: Path) -> list[str]:
    certificate = f"{home}/cert.pem {home}/cert.pem"
    site = _replace(
        FOLDER / "Caddyfile",
        {
            "127.0.0.1:8080": gateways[0],
            "127.0.0.1:8081": gateways[1],
            f"\n{NAME} {{": f"\nhttps://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate}",
            "\n{\n": "\n{\n\tadmin off\n\tauto_https disable_redirects\n",
            "/var/log/caddy": str(home),
        },
    )
    if _caddy_version() < (2, 7):
        site = site.replace("request_buffers 64KB", "buffer_requests")
    (home / "Caddyfile").write_text(site)
    return ["run", "--adapter", "caddyfile", "--config", f"{home}/Caddyfile"]


def _caddy_version() -> tuple[int, ...]:
    done = subprocess.run([str(_program("caddy")), "version"], capture_output=True, text=True, check=True)
    return tuple(map(int, re.findall(r"\d+", done.stdout)[:2]))


def _replace(file: Path, replacements: dict[str, str]) -> str:
    text = file.read_text()
    for original in replacements:
        assert original in text, f"{file} has no {original!r}"
    pattern = "|".join(re.escape(original) for original in replacements)
    return re.sub(pattern, lambda match: replacements[match[0]], text)


def _wait_open(proxy: RunningProxy, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", proxy.port)) == 0:
                return
        time.sleep(0.05)  # a port opens without notification
    raise AssertionError(f"The proxy did not start:\n{proxy.logs()}")
