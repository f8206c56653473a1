"""The whole pipeline encrypted: HTTPS, Kafka with TLS and SCRAM, ClickHouse over HTTPS."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from runtime.clickhouse.client import open_client
from runtime.clickhouse.errors import ClickHouseUnavailable
from runtime.process import DONE
from tests.support.engines import APACHE, Engines
from tests.support.gateway import open_gateway, post
from tests.support.kafka import ApacheKafka
from tests.support.process import run_module
from tests.support.sinks import open_sink
from tests.support.streams import Streams
from tests.support.wait import eventually

TOKEN, USER, PASSWORD = "a-token-of-acme", "pipeline", "a pass/word@with:all"


class Authority(NamedTuple):
    """PEM files: the certificate authority, and a certificate with its key, for servers and clients."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def both(self) -> Path:
        """Key and certificate in one file, as Kafka requires."""
        return self.key.with_name("both.pem")


pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made, folder = trustme.CA(), tmp_path_factory.mktemp("authority")
    issued = made.issue_cert("127.0.0.1", "localhost")
    files = Authority(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    made.cert_pem.write_to_path(str(files.ca))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )  # the only format that Kafka reads
    files.certificate.write_bytes(chain)
    files.key.write_bytes(pkcs8)
    files.both.write_bytes(pkcs8 + chain)
    return files


@pytest.fixture(scope="module")
def secure_kafka(
    engines: Engines, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A Kafka that requires a client certificate of the authority, and a user with a password."""
    engines.used.add(APACHE)
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "listener.name.clients.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": f'{login} username="broker" password="hush";',
    }
    users = {"broker": "hush", USER: PASSWORD}
    scram = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in users.items()]
    options = [word for one in scram for word in ("--add-scram", one)]
    cluster = ApacheKafka(tmp_path_factory.mktemp("secure"), 1, "SASL_SSL", properties, options)
    try:
        cluster.start()
        yield cluster.address
    finally:
        cluster.kill()


@asynccontextmanager
async def secure_clickhouse(plain: str, authority: Authority) -> AsyncIterator[str]:
    """An HTTPS proxy with basic authentication before the ClickHouse at `plain`; yields its `host:port`.

    The embedded ClickHouse supports neither.
    """

    async def forward(received: web.Request) -> web.StreamResponse:
        scheme, _, credentials = received.headers.get("Authorization", "").partition(" ")
        login = (
            b64decode(credentials).decode()
            if scheme == "Basic"
            else ":".join(
                received.headers.get(name, "") for name in ("X-ClickHouse-User", "X-ClickHouse-Key")
            )
        )
        if login != f"{USER}:{PASSWORD}":
            code = {"X-ClickHouse-Exception-Code": "516"}
            return web.Response(status=403, text="Code: 516. Authentication failed", headers=code)
        dropped = ("authorization", "x-clickhouse-user", "x-clickhouse-key", "host", "transfer-encoding")
        headers = {name: value for name, value in received.headers.items() if name.lower() not in dropped}
        target = f"{plain}{received.path_qs}"
        async with client.request(
            received.method, target, data=await received.read(), headers=headers
        ) as answer:
            passed_on = {
                name: value
                for name, value in answer.headers.items()
                if name.startswith(("X-", "Content-Type"))
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=passed_on)

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", forward)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.certificate, authority.key)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as client:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def security(authority: Authority, password: str = PASSWORD) -> dict[str, str]:
    """The settings for `secure_kafka`."""
    return {
        "kafka_security": "SASL_SSL",
        "kafka_security_user": USER,
        "kafka_security_password": password,
        "kafka_security_ca": str(authority.ca),
        "kafka_security_certificate": str(authority.certificate),
        "kafka_security_key": str(authority.key),
    }


def command(*arguments: str, **settings: str) -> str:
    """The output of `postbacks arguments…`."""
    done = run_module("cli", *arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def has_tables(clickhouse: str) -> bool:
    with open_client(SecretStr(clickhouse)) as client:
        return bool(client.command("EXISTS TABLE messages"))


async def test_postback_reaches_clickhouse_encrypted_all_the_way(
    secure_kafka: str,
    authority: Authority,
    database: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    message, parts = str(uuid4()), urlsplit(database)
    async with secure_clickhouse(f"http://{parts.hostname}:{parts.port}", authority) as address:
        login = f"{quote(USER)}:{quote(PASSWORD, safe='')}"
        clickhouse = f"https://{login}@{address}{parts.path}?ca_cert={authority.ca}"
        secure = security(authority) | {"log_level": "debug"}
        tls = {"tls_certificate": str(authority.certificate), "tls_key": str(authority.key)}
        # None of these blocks until ClickHouse answers: its proxy runs in this event loop.
        with (
            open_gateway(secure_kafka, tokens=f"acme={TOKEN}", **(secure | tls)) as gateway,
            Streams(secure_kafka, tmp_path, partitions=8).worker(**secure) as worker,
            open_sink(secure_kafka, clickhouse, **secure) as sink,
        ):
            context = ssl.create_default_context(cafile=authority.ca)
            url = f"https://{gateway.address}/postback/{TOKEN}"
            body = {"SMSSent": "1", "MessageID": message}
            async with aiohttp.ClientSession() as client, client.post(url, data=body, ssl=context) as answer:
                assert answer.status == 200

            def query_status() -> str:
                query = f"SELECT status FROM messages WHERE message_id = '{message}'"
                return command("sql", query, clickhouse=clickhouse)

            await eventually(lambda: asyncio.to_thread(has_tables, clickhouse), "the tables exist")
            await eventually(
                lambda: asyncio.to_thread(query_status), "the message is stored", lambda text: "sent" in text
            )
            assert "messages" in await asyncio.to_thread(command, "topics", kafka=secure_kafka, **secure)
            for stage in (gateway, worker, sink):
                assert await asyncio.to_thread(stage.process.stop) == DONE
    logged = capfd.readouterr().err
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "hush", TOKEN):
        assert secret not in logged


async def test_kafka_with_wrong_password_is_unavailable(
    secure_kafka: str, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = security(authority, "no such password")
    with open_gateway(secure_kafka, **wrong) as gateway:
        body = f"SMSSent=1&MessageID={uuid4()}".encode()
        assert (await post(gateway.address, body)).status == 202
        assert gateway.page("readyz")[0] == 503
    logged = capfd.readouterr().err
    assert "SaslAuthenticationFailed" in logged
    assert "no such password" not in logged


async def test_clickhouse_with_wrong_password_or_authority_is_unavailable(
    authority: Authority, database: str
) -> None:
    parts = urlsplit(database)
    async with secure_clickhouse(f"http://{parts.hostname}:{parts.port}", authority) as address:
        clickhouse = f"https://{USER}:wrong@{address}{parts.path}?ca_cert={authority.ca}"
        with pytest.raises(ClickHouseUnavailable, match="516"):
            await asyncio.to_thread(has_tables, clickhouse)
        other = authority.ca.with_name("other.pem")
        trustme.CA().cert_pem.write_to_path(str(other))
        with pytest.raises(ClickHouseUnavailable, match="certificate"):
            await asyncio.to_thread(has_tables, clickhouse.replace(str(authority.ca), str(other)))
