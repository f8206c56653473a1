"""Accounts: authentication by token and network, configuration, secrecy of tokens."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gateway.auth.accounts import OPEN_TO_LOOPBACK, Account, AccountConfig, Accounts, Token
from gateway.auth.accounts_file import AccountStore, read_accounts, require_loopback
from gateway.auth.networks import read_network
from runtime.errors import InvalidSetting

NOW = 1_795_435_200.0
CLIENT = "203.0.113.7"


def config(name: str, *tokens: str) -> AccountConfig:
    return AccountConfig(Account(name), tuple(Token(token) for token in tokens))


def name_of(accounts: Accounts, token: str, client: str = CLIENT, now: float = NOW) -> str | None:
    account = accounts.authenticate(token, client, now)
    return account.name if account else None


def test_only_its_tokens_identify_an_account() -> None:
    accounts = Accounts([config("acme", "first-token", "second-token"), config("umbrella", "third-token")])
    assert name_of(accounts, "first-token") == name_of(accounts, "second-token") == "acme"
    assert name_of(accounts, "third-token") == "umbrella"
    for unknown in ("", "acme", "first-toke", "first-tokenx", "FIRST-TOKEN", "\udcff"):
        assert name_of(accounts, unknown) is None


def test_default_account_is_for_loopback_clients_without_token() -> None:
    accounts = Accounts([OPEN_TO_LOOPBACK])
    assert name_of(accounts, "", "127.0.0.1") == name_of(accounts, "", "::1") == "default"
    assert name_of(accounts, "some-token", "127.0.0.1") is None
    assert name_of(accounts, "", CLIENT) is None, "reported by a proxy"


def test_tokens_are_not_stored_in_plain_text() -> None:
    assert b"first-token" not in pickle.dumps(Accounts([config("acme", "first-token")]))
    assert "first-token" not in repr(config("acme", "first-token"))


def test_token_is_valid_until_it_expires() -> None:
    accounts = Accounts([AccountConfig(Account("acme"), (Token("first-token", NOW), Token("second-token")))])
    assert name_of(accounts, "first-token", now=NOW - 0.001) == "acme"
    assert name_of(accounts, "first-token", now=NOW) is None
    assert name_of(accounts, "second-token", now=NOW) == "acme"


def test_account_with_networks_is_limited_to_them() -> None:
    networks = (read_network("203.0.113.0/24"), read_network("2001:db8::/32"))
    accounts = Accounts([AccountConfig(Account("acme", networks), (Token("first-token"),))])
    for inside in ("203.0.113.7", "::ffff:203.0.113.7", "2001:db8::7"):
        assert name_of(accounts, "first-token", inside) == "acme"
    for outside in ("203.0.114.7", "::1", "2001:db9::7", "", "unknown", "::"):
        assert name_of(accounts, "first-token", outside) is None
    assert name_of(accounts, "some-token", "::") is None


def test_accounts_are_read_from_the_setting() -> None:
    assert read_accounts("acme=first-token, umbrella=third-token,acme=second-token") == {
        "acme": config("acme", "first-token", "second-token"),
        "umbrella": config("umbrella", "third-token"),
    }
    assert read_accounts("") == {}


def test_accounts_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(
        """
        [acme]
        tokens = ["first-token", {token = "second-token", expires = 2026-11-23T12:00:00Z}]
        networks = ["203.0.113.0/24", "2001:db8::7"]
        rate = 2.5

        [umbrella]
        tokens = ["third-token"]
        rate = 100
        burst = 500
        """
    )
    networks = (read_network("203.0.113.0/24"), read_network("2001:db8::7/128"))
    assert read_accounts(str(file)) == {
        "acme": AccountConfig(
            Account("acme", networks, 2.5, 3), (Token("first-token"), Token("second-token", NOW))
        ),
        "umbrella": AccountConfig(Account("umbrella", (), 100, 500), (Token("third-token"),)),
    }


@pytest.mark.parametrize(
    ("setting", "expected"),
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
def test_setting_error_names_the_setting_not_the_token(setting: str, expected: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        read_accounts(setting)
    assert expected in str(error.value)
    assert "POSTBACKS_TOKENS" in str(error.value)
    assert "first-token" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("acme", "readable TOML file"),
        ("acme = 1", "[acme]: Expected `object`"),
        ("[acme]\nrate = 5", "[acme]: Object missing required field `tokens`"),
        ("[acme]\ntokens = []", "[acme]: Expected `array` of length >= 1 - at `$.tokens`"),
        ("[acme]\ntokens = [5]", "[acme]: Expected `str | object`, got `int` - at `$.tokens[0]`"),
        ("[acme]\ntokens = ['first-token']\nrates = 5", "[acme]: Object contains unknown field `rates`"),
        ("[acme]\ntokens = ['first-token']\nrate = 0", "[acme]: Expected `float` > 0.0 - at `$.rate`"),
        ("[acme]\ntokens = ['first-token']\nburst = 5", "[acme]: burst requires rate"),
        ("[acme]\ntokens = ['first-token']\nnetworks = []", "[acme]: Expected `array` of length >= 1"),
        ("[acme]\ntokens = ['first-token']\nnetworks = ['10.0.0.1/8']", "10.0.0.1/8 has host bits set"),
        (
            "[acme]\ntokens = [{token = 'first-token', expires = 2027-01-01T00:00:00}]",
            "[acme]: Expected `datetime` with a timezone component - at `$.tokens[0].expires`",
        ),
    ],
)
def test_file_error_names_file_and_table(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(content)
    with pytest.raises(InvalidSetting) as error:
        read_accounts(str(file))
    assert expected in str(error.value)
    assert str(file) in str(error.value)
    assert "first-token" not in str(error.value)


def test_token_either_posts_or_reads() -> None:
    store = AccountStore("acme=first-token", "acme=other-token", "0.0.0.0:8080")
    store.load()
    assert name_of(store.readers, "other-token") == name_of(store.current, "first-token") == "acme"
    assert name_of(store.readers, "first-token") is name_of(store.current, "other-token") is None
    with pytest.raises(
        InvalidSetting, match="POSTBACKS_READ_TOKENS: acme has a token that is in POSTBACKS_TOKENS"
    ):
        AccountStore("umbrella=first-token", "acme=first-token", "0.0.0.0:8080").load()


def test_without_read_tokens_nothing_is_read() -> None:
    store = AccountStore("", "", "127.0.0.1:8080")
    store.load()
    assert name_of(store.readers, "", "127.0.0.1") is None


def test_error_in_read_tokens_names_their_setting() -> None:
    with pytest.raises(InvalidSetting, match="POSTBACKS_READ_TOKENS: a token of acme must be"):
        AccountStore("", "acme=short", "127.0.0.1:8080").load()


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:8080", "127.3.2.1:0", "[::1]:8080", "::1:8080", "localhost:8080"]
)
def test_loopback_needs_no_tokens(listen: str) -> None:
    require_loopback(listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "example.com:8080"])
def test_other_addresses_need_tokens(listen: str) -> None:
    with pytest.raises(InvalidSetting, match="must be a loopback address"):
        require_loopback(listen)
