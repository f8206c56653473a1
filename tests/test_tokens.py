"""Tokens name accounts: how they are set, who is let in, and that they are not kept."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gateway.accounts import Accounts, demand_loopback, read_tokens
from runtime.errors import BadSetting


def test_a_token_names_its_account_and_nothing_else_does() -> None:
    accounts = Accounts.of({"acme": ["first-token", "second-token"], "umbrella": ["third-token"]})
    assert accounts.named_by("first-token") == accounts.named_by("second-token") == "acme"
    assert accounts.named_by("third-token") == "umbrella"
    for stranger in ("", "acme", "first-toke", "first-tokenx", "FIRST-TOKEN", "\udcff"):
        assert accounts.named_by(stranger) is None


def test_without_tokens_there_is_one_account_for_who_brings_none() -> None:
    accounts = Accounts.of({})
    assert accounts.named_by("") == "default"
    assert accounts.named_by("some-token") is None


def test_tokens_are_not_kept() -> None:
    assert b"first-token" not in pickle.dumps(Accounts.of({"acme": ["first-token"]}))


def test_tokens_can_be_set_in_a_line() -> None:
    assert read_tokens("acme=first-token, umbrella=third-token,acme=second-token") == {
        "acme": ["first-token", "second-token"],
        "umbrella": ["third-token"],
    }
    assert read_tokens("") == {}


def test_tokens_can_be_set_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(
        '[acme]\ntokens = ["first-token", "second-token"]\n\n[umbrella]\ntokens = ["third-token"]\n'
    )
    assert read_tokens(str(file)) == {"acme": ["first-token", "second-token"], "umbrella": ["third-token"]}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("Acme=first-token", "'Acme' must be 1 to 64 of a-z"),
        ("=first-token", "'' must be"),
        ("acme=short", "token of acme must be 8 to 128"),
        ("acme=with/slash", "token of acme must be 8 to 128"),
        ("acme=first-token,umbrella=first-token", "acme and umbrella have the same token"),
        ("acme=first-token,umbrella", "entry 2 must be account=token"),
        ("/nowhere/tokens.toml", "No such file"),
    ],
)
def test_a_wrong_setting_is_named_but_no_token(setting: str, says: str) -> None:
    with pytest.raises(BadSetting) as error:
        read_tokens(setting)
    assert says in str(error.value)
    assert "POSTBACKS_TOKENS" in str(error.value)
    assert "first-token" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("acme", "is no TOML"),
        ("acme = 1", '[acme] needs tokens = ["…"]'),
        ("[acme]\ntokens = []", '[acme] needs tokens = ["…"]'),
        ("[acme]\ntokens = ['first-token']\nrate = 5", "[acme] has rate; known is: tokens"),
    ],
)
def test_a_wrong_file_is_named_with_the_table(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(content)
    with pytest.raises(BadSetting) as error:
        read_tokens(str(file))
    assert says in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:8080", "127.3.2.1:0", "[::1]:8080", "::1:8080", "localhost:8080"]
)
def test_without_tokens_this_machine_is_served(listen: str) -> None:
    demand_loopback(listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "example.com:8080"])
def test_without_tokens_nobody_else_is(listen: str) -> None:
    with pytest.raises(BadSetting, match="must be a loopback address"):
        demand_loopback(listen)
