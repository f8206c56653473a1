"""`postbacks token`: a PostBackURL that works, made once and kept."""

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


def test_the_url_that_is_printed_is_the_accounts(file: Path) -> None:
    url = token(file, "acme").output.strip()
    assert url.startswith("http://127.0.0.1:8090/postback/")
    accounts = Accounts(read_accounts(str(file)).values())
    account = accounts.admitted(url.rpartition("/")[2], "203.0.113.7", time.time())
    assert account is not None
    assert account.name == "acme"


def test_asked_again_it_makes_no_other(file: Path) -> None:
    first = token(file).output
    assert token(file).output == first


def test_asked_for_by_many_at_once_it_makes_one(file: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: token_of("acme", str(file), now=0), range(8)))
    assert len(made) == 1


def test_what_is_in_the_file_stays(file: Path) -> None:
    before = '# ours\n[acme]\ntokens = ["first-of-acme", "second-of-acme"]'  # and no line end
    file.write_text(before)
    assert token(file, "acme").output.endswith("/first-of-acme\n")
    token(file, "globex")
    assert file.read_text().startswith(before)
    assert set(read_accounts(str(file))) == {"acme", "globex"}


def test_a_token_that_has_expired_is_not_given_away(file: Path) -> None:
    file.write_text('[acme]\ntokens = [{token = "first-of-acme", expires = 2020-01-01T00:00:00Z}]')
    assert "all tokens of [acme] have expired" in str(token(file, "acme").exception)
    file.write_text(file.read_text().replace("Z}]", 'Z}, "second-of-acme"]'))
    assert token(file, "acme").output.endswith("/second-of-acme\n")


def test_a_token_that_has_expired_is_passed_over(file: Path) -> None:
    file.write_text(
        '[acme]\ntokens = [{token = "token-of-old", expires = 2020-01-01T00:00:00Z}, "token-of-now"]\n'
    )
    assert token(file, "acme").output.endswith("/token-of-now\n")


def test_an_account_all_of_whose_tokens_have_expired_is_for_a_person_to_mend(file: Path) -> None:
    file.write_text('[acme]\ntokens = [{token = "token-of-old", expires = 2020-01-01T00:00:00Z}]\n')
    assert "all tokens of [acme] have expired" in str(token(file, "acme").exception)


def test_nobody_else_may_read_the_file_it_makes(file: Path) -> None:
    token(file)
    assert file.stat().st_mode & 0o077 == 0


def test_the_gateway_may_be_reached_by_another_name(file: Path) -> None:
    url = token(file, "--url", "https://sms.example.com/").output
    assert url.startswith("https://sms.example.com/postback/")


@pytest.mark.parametrize("setting", ["", "acme=s3cretT0ken", "/no/such/folder/accounts.toml"])
def test_a_setting_that_names_no_file_is_refused(setting: str) -> None:
    refused = token(setting).exception
    assert isinstance(refused, InvalidSetting)
    assert "POSTBACKS_TOKENS" in str(refused)
    assert "s3cret" not in str(refused)


@pytest.mark.parametrize("account", ["Acme", "a.b", "a=b", "a,b", ""])
def test_an_account_that_could_not_be_read_back_is_refused_and_nothing_is_written(
    file: Path, account: str
) -> None:
    assert isinstance(token(file, account).exception, InvalidSetting)
    assert not file.exists()
