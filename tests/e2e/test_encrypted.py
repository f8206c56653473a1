"""The whole pipeline with nothing in the clear: HTTPS, Kafka by TLS and SCRAM, ClickHouse by HTTPS."""

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
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from cli.__main__ import postbacks
from runtime.clickhouse.client import Unavailable, query_client
from runtime.process import DONE
from runtime.settings import load_settings
from tests.support.engines import APACHE, Engines
from tests.support.gateway import form, free_address, open_gateway, request
from tests.support.kafka import ApacheKafka
from tests.support.process import running
from tests.support.sinks import open_sink, until

TOKEN, USER, PASSWORD = "a-token-of-acme", "pipeline", "a pass/word@with:all"
READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


class Authority(NamedTuple):
    """Certificates in PEM: of the authority, and of 127.0.0.1 with its key, for servers and clients alike."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def both(self) -> Path:
        """Key and certificate in one file, as Kafka wants them."""
        return self.key.with_name("both.pem")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made, folder = trustme.CA(), tmp_path_factory.mktemp("authority")
    issued = made.issue_cert("127.0.0.1", "localhost")
    files = Authority(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    made.cert_pem.write_to_path(str(files.ca))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Kafka reads no other
    files.certificate.write_bytes(chain)
    files.key.write_bytes(pkcs8)
    files.both.write_bytes(pkcs8 + chain)
    return files


@pytest.fixture(scope="module")
def secure_kafka(
    engines: Engines, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Lets in who has a certificate of the authority, and a user's password."""
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
        cluster.end()


@asynccontextmanager
async def secure_clickhouse(plain: str, authority: Authority) -> AsyncIterator[str]:
    """The ClickHouse at `plain`, by HTTPS and for one user with a password; `host:port`.

    The embedded one has neither, so they stand before it.
    """

    async def pass_on(asked: web.Request) -> web.StreamResponse:
        scheme, _, credentials = asked.headers.get("Authorization", "").partition(" ")
        said = (
            b64decode(credentials).decode()
            if scheme == "Basic"
            else ":".join(asked.headers.get(name, "") for name in ("X-ClickHouse-User", "X-ClickHouse-Key"))
        )
        if said != f"{USER}:{PASSWORD}":
            code = {"X-ClickHouse-Exception-Code": "516"}
            return web.Response(status=403, text="Code: 516. Authentication failed", headers=code)
        own = ("authorization", "x-clickhouse-user", "x-clickhouse-key", "host", "transfer-encoding")
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in own}
        target = f"{plain}{asked.path_qs}"
        async with client.request(asked.method, target, data=await asked.read(), headers=headers) as answer:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.startswith(("X-", "Content-Type"))
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", pass_on)
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
    """The settings that Kafka's lock asks for."""
    return {
        "kafka_security": "SASL_SSL",
        "kafka_security_user": USER,
        "kafka_security_password": password,
        "kafka_security_ca": str(authority.ca),
        "kafka_security_certificate": str(authority.certificate),
        "kafka_security_key": str(authority.key),
    }


def environment(settings: dict[str, str]) -> dict[str, str]:
    return {f"POSTBACKS_{name.upper()}": value for name, value in settings.items()}


def command(*arguments: str, settings: dict[str, str]) -> str:
    """What a command of ours prints."""
    result = CliRunner().invoke(postbacks, arguments, obj=lambda: load_settings(environment(settings)))
    assert result.exit_code == 0, result.output
    return result.output


def has_tables(clickhouse: str) -> bool:
    with query_client(SecretStr(clickhouse)) as client:
        return bool(client.command("EXISTS TABLE messages"))


async def test_a_postback_comes_through_encrypted_all_the_way(
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
        streams = environment(secure | {"kafka": secure_kafka, "data": str(tmp_path), "ops": free_address()})
        # None of them waits for ClickHouse before its block begins: that stands in this event loop.
        with (
            open_gateway(secure_kafka, tokens=f"acme={TOKEN}", **(secure | tls)) as gateway,
            running("streams", environment=streams) as worker,
            open_sink(secure_kafka, clickhouse, **secure) as sink,
        ):
            context = ssl.create_default_context(cafile=authority.ca)
            url = f"https://{gateway.address}/postback/{TOKEN}"
            body = {"SMSSent": "1", "MessageID": message}
            async with aiohttp.ClientSession() as client, client.post(url, data=body, ssl=context) as answer:
                assert answer.status == 200

            def asked() -> str:
                query = f"SELECT status FROM messages WHERE message_id = '{message}'"
                return command("sql", query, settings={"clickhouse": clickhouse})

            async def stored() -> bool:
                return "sent" in await asyncio.to_thread(asked)

            await until(lambda: asyncio.to_thread(has_tables, clickhouse), "the tables are there")
            await until(stored, "the message is in ClickHouse")
            topics = await asyncio.to_thread(command, "topics", settings=secure | {"kafka": secure_kafka})
            assert "messages" in topics
            for process in (gateway.process, worker, sink.process):
                assert await asyncio.to_thread(process.stop) == DONE
    said = capfd.readouterr().err
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "hush", TOKEN):
        assert secret not in said


async def test_who_has_not_the_password_is_kept_out_of_kafka(
    secure_kafka: str, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = security(authority, "no such password")
    with open_gateway(secure_kafka, **wrong) as gateway:
        body = f"SMSSent=1&MessageID={uuid4()}".encode()
        assert (await request(gateway.address, form(body))).status == 202
        assert (await request(gateway.ops, READY)).status == 503
    said = capfd.readouterr().err
    assert "SaslAuthenticationFailed" in said
    assert "no such password" not in said


async def test_who_has_not_the_password_is_kept_out_of_clickhouse(
    authority: Authority, database: str
) -> None:
    parts = urlsplit(database)
    async with secure_clickhouse(f"http://{parts.hostname}:{parts.port}", authority) as address:
        clickhouse = f"https://{USER}:wrong@{address}{parts.path}?ca_cert={authority.ca}"
        with pytest.raises(Unavailable, match="516"):
            await asyncio.to_thread(has_tables, clickhouse)
        strangers = clickhouse.replace(str(authority.ca), str(authority.ca.with_name("other.pem")))
        trustme.CA().cert_pem.write_to_path(str(authority.ca.with_name("other.pem")))
        with pytest.raises(Unavailable, match="certificate"):
            await asyncio.to_thread(has_tables, strangers)
