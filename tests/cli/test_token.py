"""`postbacks token`: prints a PostBackURL, and creates the token once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import postbacks
from cli.token import token_of
from gateway.auth.accounts import Accounts
from gateway.auth.accounts_file import read_accounts
from runtime.errors import InvalidSetting
from runtime.settings import load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.toml"


def token(setting: object, *arguments: str) -> Result:
    def load() -> object:
        return load_settings({"POSTBACKS_TOKENS": str(setting), "POSTBACKS_LISTEN": "0.0.0.0:8090"})

    return CliRunner().invoke(postbacks, ["token", *arguments], obj=load)


def test_printed_url_authenticates_as_the_account(file: Path) -> None:
    url = token(file, "acme").output.strip()
    assert url.startswith("http://127.0.0.1:8090/postback/")
    accounts = Accounts(read_accounts(str(file)).values())
    account = accounts.authenticate(url.rpartition("/")[2], "203.0.113.7", time.time())
    assert account is not None
    assert account.name == "acme"


def test_read_token_is_one_of_its_own(file: Path, tmp_path: Path) -> None:
    readers = tmp_path / "readers.toml"
    settings = load_settings({"POSTBACKS_TOKENS": str(file), "POSTBACKS_READ_TOKENS": str(readers)})
    printed = CliRunner().invoke(postbacks, ["token", "acme", "--read"], obj=lambda: settings).output.strip()
    assert not file.exists()
    assert [config.text for config in read_accounts(str(readers))["acme"].tokens] == [printed]
    assert readers.stat().st_mode & 0o077 == 0


def test_missing_read_tokens_setting_is_named(file: Path) -> None:
    assert "POSTBACKS_READ_TOKENS" in str(token(file, "--read").exception)


def test_second_call_prints_the_same_token(file: Path) -> None:
    first = token(file).output
    assert token(file).output == first


def test_concurrent_calls_create_one_token(file: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        tokens = set(threads.map(lambda _: token_of("acme", str(file), now=0), range(8)))
    assert len(tokens) == 1


def test_existing_file_content_is_kept(file: Path) -> None:
    before = '# ours\n[acme]\ntokens = ["first-of-acme", "second-of-acme"]'  # without a final newline
    file.write_text(before)
    assert token(file, "acme").output.endswith("/first-of-acme\n")
    token(file, "globex")
    assert file.read_text().startswith(before)
    assert set(read_accounts(str(file))) == {"acme", "globex"}


def test_expired_token_is_skipped(file: Path) -> None:
    file.write_text(
        '[acme]\ntokens = [{token = "token-of-old", expires = 2020-01-01T00:00:00Z}, "token-of-now"]\n'
    )
    assert token(file, "acme").output.endswith("/token-of-now\n")


def test_account_with_only_expired_tokens_is_an_error(file: Path) -> None:
    file.write_text('[acme]\ntokens = [{token = "token-of-old", expires = 2020-01-01T00:00:00Z}]\n')
    assert "all tokens of [acme] have expired" in str(token(file, "acme").exception)


def test_created_file_is_readable_by_its_owner_only(file: Path) -> None:
    token(file)
    assert file.stat().st_mode & 0o077 == 0


def test_url_option_replaces_the_listen_address(file: Path) -> None:
    url = token(file, "--url", "https://sms.example.com/").output
    assert url.startswith("https://sms.example.com/postback/")


@pytest.mark.parametrize("setting", ["", "acme=s3cretT0ken", "/no/such/folder/accounts.toml"])
def test_setting_without_a_file_is_refused(setting: str) -> None:
    error = token(setting).exception
    assert isinstance(error, InvalidSetting)
    assert "POSTBACKS_TOKENS" in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("account", ["Acme", "a.b", "a=b", "a,b", ""])
def test_invalid_account_name_is_refused_without_writing(file: Path, account: str) -> None:
    assert isinstance(token(file, account).exception, InvalidSetting)
    assert not file.exists()
