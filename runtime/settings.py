"""All settings of all processes: one frozen object, made once from the environment and handed down.

Each field is the environment variable `POSTBACKS_` + its name in capitals. The file that
`POSTBACKS_SETTINGS` names (lines of NAME=value) is read first; the environment wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from runtime.errors import InvalidSetting

PREFIX = "POSTBACKS_"
FILE = PREFIX + "SETTINGS"


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) < 65536):
        raise ValueError("must be host:port, such as 127.0.0.1:8080")
    return value


def _addresses(value: str) -> str:
    return ",".join(_address(part.strip()) for part in value.split(","))


def _clickhouse(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("must be http://user:password@host:8123/postbacks, or https://…")
    return value


def _networks(value: str) -> str:
    for part in value.split(","):
        ip_network(part.strip())
    return value


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[str, AfterValidator(_addresses)]
Networks = Annotated[str, AfterValidator(_networks)]


class Settings(BaseModel):
    """Seconds, bytes and counts where no other unit is said. Secrets print as stars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: Addresses = Field("127.0.0.1:9092", description="Kafka's brokers: host:port,host:port")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    kafka_security_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="with SASL: the mechanism"
    )
    kafka_security_user: str = Field("", description="with SASL: the user")
    kafka_security_password: SecretStr = Field(SecretStr(""), description="with SASL: the password")
    kafka_security_ca: Path | None = Field(None, description="with TLS: the authority's certificate (PEM)")
    kafka_security_certificate: Path | None = Field(
        None, description="with TLS: the client's certificate (PEM)"
    )
    kafka_security_key: Path | None = Field(None, description="with TLS: the client's key (PEM)")
    partitions: int = Field(8, ge=1, le=10_000, description="of the postback topics and of messages; final")
    replication: int = Field(1, ge=1, le=9, description="copies of each topic; 3 in production")

    clickhouse: Annotated[SecretStr, AfterValidator(_clickhouse)] = Field(
        SecretStr("http://default:@127.0.0.1:8123/postbacks"),
        description="http://user:password@host:8123/postbacks",
    )

    tokens: SecretStr = Field(
        SecretStr(""), description="account=token,account=token; or the path of a TOML file"
    )
    listen: Address = Field("127.0.0.1:8080", description="where the gateway takes postbacks")
    processes: int = Field(
        1, ge=1, le=64, description="of the gateway, all on its one port; about one for each core it may use"
    )
    tls_certificate: Path | None = Field(
        None, description="the gateway's certificate with its chain (PEM); without it there is no TLS"
    )
    tls_key: Path | None = Field(None, description="its key (PEM), when that is in a file of its own")
    proxies: Networks = Field(
        "", validate_default=False, description="networks of the proxies whose X-Forwarded-For is believed"
    )
    connections: int = Field(
        2_000, ge=1, le=100_000, description="connections to a gateway process at a time"
    )
    request_timeout: float = Field(
        10.0, gt=0, le=300, description="seconds a request may take to come in, first byte to last"
    )
    idle_timeout: float = Field(
        120.0, gt=0, le=86_400, description="seconds a connection may rest between two requests"
    )
    ops: Address | None = Field(
        None, description="where /livez, /readyz and /metrics are; port 0 takes a free one"
    )
    data: Path = Field(Path("data"), description="the folder of what a process keeps; one for each process")
    cache: Path | None = Field(
        None, description="the folder of what is downloaded once; without it the user's cache folder"
    )
    log_bytes: int = Field(
        10 * 2**30, ge=64 * 2**20, description="bytes of the embedded Kafka's data, at most"
    )
    java: Path | None = Field(
        None,
        description="the program java for the embedded Kafka, instead of the one that is installed with it",
    )
    body_limit: int = Field(65_536, ge=1_024, le=262_144, description="bytes of a request's body")
    ack_timeout: float = Field(
        2.0, gt=0, le=60, description="seconds Kafka may take to acknowledge a postback"
    )
    linger: float = Field(
        0.001, ge=0, le=1, description="seconds a postback may wait for others to share its batch"
    )
    spool_bytes: int = Field(
        2**30, ge=2**20, description="bytes that wait on disk while Kafka is away, at most, of each process"
    )
    spool_age: float = Field(
        7 * 86400.0, gt=0, description="seconds that something may wait there before nothing more is taken"
    )

    hold: Path | None = Field(
        None, description="a file that, while it exists, makes the gateway answer 503; it says why"
    )

    cloudevents: bool = Field(True, description="whether the records of postbacks have CloudEvents headers")

    store: Literal["rocksdb", "memory"] = Field("rocksdb", description="where streams keeps its states")
    overdue_after: float = Field(
        72 * 3600.0, gt=0, description="seconds after which a receipt is missed (short codes)"
    )
    forget_after: float = Field(
        14 * 86400.0, gt=0, description="seconds after its last event until streams lets a message go"
    )
    fetch_wait: float = Field(
        0.05, ge=0.001, le=5, description="seconds streams lets Kafka gather records, at most"
    )
    session_timeout: float = Field(
        10.0, ge=1, le=300, description="seconds until Kafka gives a silent worker's partitions away"
    )
    stall_after: float = Field(
        60.0, gt=0, description="seconds with work left and none done after which a process ends itself"
    )

    batch_rows: int = Field(
        20_000, ge=1, le=500_000, description="rows of one insert into ClickHouse, at most"
    )
    batch_seconds: float = Field(1.0, gt=0, le=60, description="seconds a row may wait for others, at most")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged")
    log_format: Literal["text", "json"] = Field("text", description="for people or for machines")
    log_personal: bool = Field(False, description="whether phone numbers are logged in full")

    @property
    def cache_folder(self) -> Path:
        """Where what is downloaded once is kept."""
        if self.cache:
            return self.cache
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "postbacks"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Raises:
        BadSetting: naming the variable, the value (unless it is secret) and what is allowed.
    """
    environment = os.environ if environment is None else environment
    given: dict[str, str] = {}
    if path := environment.get(FILE):
        if not Path(path).is_file():
            raise InvalidSetting(f"{FILE}={path}: there is no such file")
        given |= {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    given |= environment
    named = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in given.items()
        if name.startswith(PREFIX) and name != FILE and value
    }
    try:
        return Settings.model_validate(named)
    except ValidationError as errors:
        raise InvalidSetting("\n".join(_explain(dict(error)) for error in errors.errors())) from None


def _explain(error: dict[str, Any]) -> str:
    field = str(error["loc"][0])
    name = PREFIX + field.upper()
    if error["type"] == "extra_forbidden":
        near = get_close_matches(field, Settings.model_fields, 1)
        hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else "`postbacks settings` lists them"
        return f"{name}: there is no such setting; {hint}"
    secret = "Secret" in str(Settings.model_fields[field].annotation)
    value = "(secret)" if secret else error["input"]
    allowed = error["msg"].removeprefix("Value error, ")
    return f"{name}={value}: {allowed} ({Settings.model_fields[field].description})"
