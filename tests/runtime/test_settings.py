"""Settings come from the environment or a file, and errors explain themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import InvalidSetting
from runtime.settings import Settings, load_settings


def test_defaults_are_the_ports_of_postbacks_up() -> None:
    settings = load_settings({})
    assert (settings.kafka, settings.listen) == ("127.0.0.1:9092", "127.0.0.1:8080")


def test_opt_out_words_are_listed_without_blanks() -> None:
    assert load_settings({"POSTBACKS_OPT_OUT_WORDS": " ARRÊT , no más"}).opt_out_words == "ARRÊT,no más"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "postbacks.env"
    file.write_text("POSTBACKS_KAFKA=a:1,b:2\nPOSTBACKS_REPLICATION=3\n# a comment\nOTHER=x\n")
    settings = load_settings({"POSTBACKS_SETTINGS": str(file), "POSTBACKS_REPLICATION": "1"})
    assert (settings.kafka, settings.replication) == ("a:1,b:2", 1)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("POSTBACKS_KAFKA", "nowhere", "must be host:port"),
        ("POSTBACKS_LISTEN", "0.0.0.0:99999", "must be host:port"),
        ("POSTBACKS_PARTITIONS", "0", "greater than or equal to 1"),
        ("POSTBACKS_STORE", "redis", "'rocksdb' or 'memory'"),
        ("POSTBACKS_OVERDUE_AFTER", "3 days", "valid number"),
        ("POSTBACKS_OVERDUE_AFTER", "1e15", "less than or equal to 3153600000"),
        ("POSTBACKS_OPT_OUT_WORDS", "FIN, Start!", "'Start!' opts in"),
        ("POSTBACKS_OPT_OUT_WORDS", "ＹＥＳ", "opts in"),  # noqa: RUF001
        ("POSTBACKS_OPT_OUT_WORDS", "FIN,,ALTO", "must be words with letters"),
        ("POSTBACKS_OPT_OUT_SCOPE", "carrier", "'number' or 'account'"),
        ("POSTBACKS_YES_OPTS_IN", "perhaps", "valid boolean"),
        ("POSTBACKS_FORGET_AFTER", "inf", "less than or equal to 3153600000"),
    ],
)
def test_error_names_variable_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        load_settings({name: value})
    assert f"{name}={value}: " in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize(
    ("variables", "value"),
    [
        ({"POSTBACKS_FORGET_AFTER": "100000"}, "100000"),
        ({"POSTBACKS_OVERDUE_AFTER": "2000000"}, "1209600"),
        ({"POSTBACKS_OVERDUE_AFTER": "60", "POSTBACKS_FORGET_AFTER": "60"}, "60"),
    ],
)
def test_forgetting_before_overdue_is_refused(variables: dict[str, str], value: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        load_settings(variables)
    overdue_after = variables.get("POSTBACKS_OVERDUE_AFTER", "259200")
    assert str(error.value).startswith(
        f"POSTBACKS_FORGET_AFTER={value}: must be greater than POSTBACKS_OVERDUE_AFTER={overdue_after} "
    )


@pytest.mark.parametrize(
    ("variables", "value", "unsent_after"),
    [
        ({"POSTBACKS_OVERDUE_AFTER": "60", "POSTBACKS_FORGET_AFTER": "600"}, "600", "900"),
        ({"POSTBACKS_UNSENT_AFTER": "1209600"}, "1209600", "1209600"),
    ],
)
def test_forgetting_before_unsent_is_refused(
    variables: dict[str, str], value: str, unsent_after: str
) -> None:
    with pytest.raises(InvalidSetting) as error:
        load_settings(variables)
    assert str(error.value).startswith(
        f"POSTBACKS_FORGET_AFTER={value}: must be greater than POSTBACKS_UNSENT_AFTER={unsent_after} "
    )


def test_forgetting_after_overdue_and_unsent_is_allowed() -> None:
    limits = {"POSTBACKS_OVERDUE_AFTER": "60", "POSTBACKS_UNSENT_AFTER": "60"}
    settings = load_settings(limits | {"POSTBACKS_FORGET_AFTER": "60.5"})
    assert (settings.overdue_after, settings.unsent_after, settings.forget_after) == (60.0, 60.0, 60.5)


@pytest.mark.parametrize("name", ["POSTBACKS_OVERDUE_AFTER", "POSTBACKS_UNSENT_AFTER"])
def test_wrong_limit_is_the_only_error(name: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        load_settings({name: "0"})
    assert "POSTBACKS_FORGET_AFTER" not in str(error.value)


def test_misspelt_setting_is_an_error() -> None:
    with pytest.raises(
        InvalidSetting, match="POSTBACKS_KAFAK: there is no such setting; did you mean POSTBACKS_KAFKA"
    ):
        load_settings({"POSTBACKS_KAFAK": "a:1"})


def test_missing_settings_file_is_named() -> None:
    with pytest.raises(InvalidSetting, match=r"POSTBACKS_SETTINGS=/nowhere\.env: there is no such file"):
        load_settings({"POSTBACKS_SETTINGS": "/nowhere.env"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("POSTBACKS_CLICKHOUSE", "tcp://default:hush@h"), ("POSTBACKS_KAFKA_SECURITY_PASSWORD", "hush")],
)
def test_secrets_are_not_printed(name: str, value: str) -> None:
    try:
        shown = repr(load_settings({name: value}))
    except InvalidSetting as error:
        shown = str(error)
    assert "hush" not in shown


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())
