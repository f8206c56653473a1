"""The read tokens that `postbacks up` creates, or uses."""

from __future__ import annotations

from pathlib import Path

from cli.up.read_token import FILE, with_read_tokens
from cli.up.stack import Endpoints, plan
from cli.up.welcome import stack_settings
from gateway.auth.accounts_file import AccountStore, read_accounts
from runtime.settings import Settings, load_settings

LISTEN = "0.0.0.0:8090"


def prepared(data: Path, **variables: str) -> Settings:
    settings = load_settings({f"POSTBACKS_{name.upper()}": value for name, value in variables.items()})
    return with_read_tokens(settings, LISTEN, data, now=0)


def test_client_of_the_stack_gets_a_token_that_reads(tmp_path: Path) -> None:
    settings = prepared(tmp_path)
    endpoints = Endpoints(LISTEN, tmp_path, dict.fromkeys(("gateway", "streams", "sinks"), ""), None, None)
    for_clients = stack_settings(endpoints, settings)
    assert for_clients["POSTBACKS_CONTACT_URL"] == "http://127.0.0.1:8090/contact"
    gateway = next(service for service in plan(endpoints, settings) if service.name == "gateway")
    store = AccountStore("", gateway.environment["POSTBACKS_READ_TOKENS"], "127.0.0.1:8090")
    store.load()
    account = store.readers.authenticate(for_clients["POSTBACKS_READ_TOKEN"], "127.0.0.1", 0)
    assert account is not None
    assert account.name == "default"


def test_created_token_is_used_again_and_private(tmp_path: Path) -> None:
    first = prepared(tmp_path).read_token
    assert prepared(tmp_path).read_token == first
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_each_account_that_posts_gets_a_read_token(tmp_path: Path) -> None:
    settings = prepared(tmp_path, tokens="acme=token-of-acme,umbrella=token-of-umbrella")
    assert set(read_accounts(settings.read_tokens.get_secret_value())) == {"acme", "umbrella"}
    assert settings.read_token.get_secret_value() == "", "which one a client is of is not known"


def test_tokens_of_earlier_accounts_do_not_matter(tmp_path: Path) -> None:
    before = prepared(tmp_path).read_token
    after = prepared(tmp_path, tokens="acme=token-of-acme").read_token
    assert after.get_secret_value()
    assert after != before


def test_configured_read_tokens_are_used(tmp_path: Path) -> None:
    settings = prepared(tmp_path, read_tokens="acme=a-token-that-reads")
    assert settings.read_token.get_secret_value() == "a-token-that-reads"
    assert not (tmp_path / FILE).exists()
