"""The settings of all processes: one frozen object, read once from the environment.

Each field is the environment variable `POSTBACKS_` + its name in capitals. Variables of the file that
`POSTBACKS_SETTINGS` names (lines of NAME=value) apply, too; the environment wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from runtime.errors import InvalidSetting
from runtime.kafka.compression import Compression
from runtime.opt_words import OPT_IN_WORDS, YES_WORDS, consists_of, letters_of

PREFIX = "POSTBACKS_"
FILE = PREFIX + "SETTINGS"
#: Seconds of a century, the longest limit: a message's times plus a limit must be a date.
CENTURY = 100 * 365 * 86_400.0


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


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must be http://… or https://…")
    return value


def _secret_url(value: SecretStr) -> SecretStr:
    _http_url(value.get_secret_value())
    return value


def _networks(value: str) -> str:
    for part in value.split(","):
        ip_network(part.strip())
    return value


def _opt_out_words(value: str) -> str:
    words = [word.strip() for word in value.split(",")]
    for word in words:
        if consists_of(letters_of(word), OPT_IN_WORDS | YES_WORDS):
            raise ValueError(f"{word!r} opts in; words of opting out must be others")
        if not letters_of(word):
            raise ValueError("must be words with letters, such as ARRET,FIN")
    return ",".join(words)


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[str, AfterValidator(_addresses)]
Networks = Annotated[str, AfterValidator(_networks)]
OptOutWords = Annotated[str, AfterValidator(_opt_out_words)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]


class Settings(BaseModel):
    """Numbers are seconds, bytes or counts unless described otherwise. Secrets print as stars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: Addresses = Field("127.0.0.1:9092", description="Kafka brokers: host:port,host:port")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="security protocol of the brokers"
    )
    kafka_security_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="with SASL: the mechanism"
    )
    kafka_security_user: str = Field("", description="with SASL: the user")
    kafka_security_password: SecretStr = Field(SecretStr(""), description="with SASL: the password")
    kafka_security_ca: Path | None = Field(None, description="with TLS: the CA's certificate (PEM)")
    kafka_security_certificate: Path | None = Field(
        None, description="with TLS: the client's certificate (PEM)"
    )
    kafka_security_key: Path | None = Field(None, description="with TLS: the client's key (PEM)")
    partitions: int = Field(
        8, ge=1, le=10_000, description="of each postback topic and of messages; cannot be changed later"
    )
    replication: int = Field(1, ge=1, le=9, description="replicas of each topic; 3 in production")

    clickhouse: Annotated[SecretStr, AfterValidator(_clickhouse)] = Field(
        SecretStr("http://default:@127.0.0.1:8123/postbacks"),
        description="http://user:password@host:8123/postbacks",
    )

    tokens: SecretStr = Field(
        SecretStr(""), description="account=token,account=token; or the path of a TOML file"
    )
    read_tokens: SecretStr = Field(
        SecretStr(""),
        description="likewise, tokens that read: for GET /contact/NUMBER; without them it is not served",
    )
    listen: Address = Field("127.0.0.1:8080", description="where the gateway listens for postbacks")
    processes: int = Field(
        1, ge=1, le=64, description="gateway processes that share its port; about one per core"
    )
    tls_certificate: Path | None = Field(
        None, description="the gateway's certificate with its chain (PEM); no TLS without it"
    )
    tls_key: Path | None = Field(None, description="its key (PEM), if in a separate file")
    proxies: Networks = Field(
        "", validate_default=False, description="networks of the proxies whose X-Forwarded-For is trusted"
    )
    connections: int = Field(
        2_000, ge=1, le=100_000, description="open connections per gateway process, at most"
    )
    request_timeout: float = Field(
        10.0, gt=0, le=300, description="seconds to receive a request, from first byte to last"
    )
    idle_timeout: float = Field(
        120.0, gt=0, le=86_400, description="seconds a connection may be idle between two requests"
    )
    ops: Address | None = Field(
        None, description="where /livez, /readyz and /metrics are served; port 0 takes a free one"
    )
    data: Path = Field(Path("data"), description="folder of a process's own files; one per process")
    cache: Path | None = Field(None, description="folder for downloads; by default the user's cache folder")
    log_bytes: int = Field(
        10 * 2**30, ge=64 * 2**20, description="bytes of the embedded Kafka's data, at most"
    )
    log_flush: bool = Field(
        False, description="whether the embedded Kafka syncs each record to disk before it acknowledges it"
    )
    java: Path | None = Field(
        None,
        description="the java executable for the embedded Kafka, instead of the packaged one",
    )
    body_limit: int = Field(65_536, ge=1_024, le=262_144, description="bytes of a request's body, at most")
    ack_timeout: float = Field(
        2.0, gt=0, le=60, description="seconds until Kafka must acknowledge a postback"
    )
    linger: float = Field(
        0.001, ge=0, le=1, description="seconds a postback is buffered for others to join its batch, at most"
    )
    spool_bytes: int = Field(
        2**30, ge=2**20, description="bytes spooled on disk per process while Kafka is unavailable, at most"
    )
    spool_age: float = Field(
        7 * 86400.0,
        gt=0,
        description="age in seconds of the oldest spooled record from which on postbacks get 503",
    )

    hold: Path | None = Field(
        None, description="a file that makes the gateway answer 503 while it exists; its text is the reason"
    )

    compression: Compression = Field(
        "snappy", description="how the gateway and streams compress what they write to Kafka"
    )
    cloudevents: bool = Field(True, description="whether postback records have CloudEvents headers")

    store: Literal["rocksdb", "memory"] = Field("rocksdb", description="state store of streams")
    overdue_after: float = Field(
        72 * 3600.0,
        gt=0,
        le=CENTURY,
        description="seconds after sending until a missing receipt is overdue (short codes)",
    )
    unsent_after: float = Field(
        900.0,
        gt=0,
        le=CENTURY,
        description="seconds after submission, or the scheduled time if later, until a missing attempt makes "
        "a message unsent",
    )
    forget_after: float = Field(
        14 * 86400.0,
        validate_default=True,
        gt=0,
        le=CENTURY,
        description="seconds after its last event, or the scheduled time if later, until streams expires a "
        "message; more than overdue_after and unsent_after",
    )
    fetch_wait: float = Field(
        0.05, ge=0.001, le=5, description="seconds Kafka may wait to fill a fetch of streams"
    )
    session_timeout: float = Field(
        10.0, ge=1, le=300, description="seconds until Kafka reassigns a silent worker's partitions"
    )
    stall_after: float = Field(
        60.0, gt=0, description="seconds of pending work without progress after which a process exits"
    )

    opt_out_words: OptOutWords = Field(
        "",
        validate_default=False,
        description="words that opt out like STOP, if a reply has no others: ARRET,FIN",
    )
    opt_out_scope: Literal["number", "account"] = Field(
        "account",
        description="what an opt-out is about: the number of ours that it was sent to, or the whole account",
    )
    yes_opts_in: bool = Field(False, description="whether the reply YES opts in again")

    batch_rows: int = Field(20_000, ge=1, le=500_000, description="rows per insert into ClickHouse, at most")
    batch_seconds: float = Field(
        1.0, gt=0, le=60, description="seconds a row is buffered for its insert, at most"
    )

    provider: HttpUrl = Field(
        "https://sms2.cdyne.com/sms.svc/SecureREST",
        description="URL of the provider's API, without the name of a call",
    )
    license_key: SecretStr = Field(SecretStr(""), description="licence key of the account at the provider")
    status_postback_url: SecretUrl | None = Field(
        None, description="StatusPostBackURL of each send; by default the one that the provider has"
    )
    submission_url: SecretUrl | None = Field(
        None, description="where answers to sends are posted; by default the gateway on POSTBACKS_LISTEN"
    )
    contact_url: HttpUrl | None = Field(
        None,
        description="where contacts are looked up, without the number; by default /contact of the gateway on "
        "POSTBACKS_LISTEN",
    )
    read_token: SecretStr = Field(
        SecretStr(""), description="read token for looking up contacts; `postbacks token --read` prints it"
    )

    respond: Literal["off", "dry-run", "on"] = Field(
        "off", description="whether responses are answered by rules; dry-run only decides, and sends nothing"
    )
    respond_rules: Path | None = Field(None, description="the rules of automatic responses (TOML)")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level logged")
    log_format: Literal["text", "json"] = Field("text", description="for people, or JSON for machines")
    log_personal: bool = Field(False, description="whether phone numbers are logged in full")

    @field_validator("forget_after")
    @classmethod
    def _marked_first(cls, forget_after: float, known: ValidationInfo) -> float:
        """A message that expires before, or when, it would become overdue or unsent never would."""
        for name in ("overdue_after", "unsent_after"):
            limit = known.data.get(name, 0.0)  # missing if it is invalid itself
            if forget_after <= limit:
                raise ValueError(f"must be greater than {PREFIX}{name.upper()}={limit:.15g}")
        return forget_after

    @property
    def listed_opt_out_words(self) -> tuple[str, ...]:
        """The words of `opt_out_words`."""
        return tuple(word for word in self.opt_out_words.split(",") if word)

    @property
    def cache_folder(self) -> Path:
        """Folder for downloads."""
        if self.cache:
            return self.cache
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "postbacks"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment (by default this process's) and the settings file.

    Raises:
        InvalidSetting: names the variable, the value (unless it is secret) and what is allowed.
    """
    environment = os.environ if environment is None else environment
    variables: dict[str, str] = {}
    if path := environment.get(FILE):
        if not Path(path).is_file():
            raise InvalidSetting(f"{FILE}={path}: there is no such file")
        variables |= {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    variables |= environment
    fields = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in variables.items()
        if name.startswith(PREFIX) and name != FILE and value
    }
    try:
        return Settings.model_validate(fields)
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
    if isinstance(value, float):  # a default
        value = f"{value:.15g}"
    allowed = error["msg"].removeprefix("Value error, ")
    return f"{name}={value}: {allowed} ({Settings.model_fields[field].description})"
