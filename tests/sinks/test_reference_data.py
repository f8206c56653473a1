"""Holidays and area codes are in ClickHouse as their libraries have them."""

from __future__ import annotations

from datetime import date
from importlib import metadata

import pytest
from pydantic import SecretStr

from sinks import reference_data
from sinks.migrate import migrate
from sinks.reference_data import federal_holidays, time_zones
from tests.support.sinks import execute, rows

ALL = "SELECT (SELECT count() FROM holidays) AS holidays, (SELECT count() FROM area_codes) AS area_codes"


def test_migration_fills_tables_once(database: str) -> None:
    for _ in range(2):
        migrate(SecretStr(database))
        assert rows(database, ALL) == [
            {"holidays": len([*federal_holidays()]), "area_codes": len(time_zones())}
        ]
    assert rows(database, "SELECT zones, source FROM area_codes WHERE area_code = '605'") == [
        {
            "zones": ["America/Chicago", "America/Denver", "America/North_Dakota/Center"],
            "source": f"phonenumbers {metadata.version('phonenumbers')}",
        }
    ]


def test_another_version_of_the_library_replaces_rows(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(SecretStr(database))
    execute(database, "ALTER TABLE area_codes UPDATE zones = [] WHERE 1 SETTINGS mutations_sync = 1")
    monkeypatch.setattr(reference_data, "version", lambda library: "9999")
    migrate(SecretStr(database))
    (row,) = rows(
        database,
        "SELECT count() AS rows, countIf(empty(zones)) AS empty, any(source) AS source FROM area_codes FINAL",
    )
    assert row == {"rows": len(time_zones()), "empty": 0, "source": "phonenumbers 9999"}


def test_table_that_was_not_filled_is_filled_later(database: str) -> None:
    migrate(SecretStr(database))
    execute(database, "TRUNCATE TABLE holidays")
    assert migrate(SecretStr(database)) == []
    assert rows(database, "SELECT name FROM holidays WHERE day = '2026-11-26'") == [
        {"name": "Thanksgiving Day"}
    ]


def test_holidays_on_weekends_are_observed_on_weekdays() -> None:
    days = dict(federal_holidays())
    assert days[date(2027, 7, 5)] == "Independence Day (observed)"
    assert days[date(2027, 12, 24)] == "Christmas Day (observed)"
    assert date(2026, 11, 27) not in days


def test_zones_of_an_area_code_include_those_of_its_exchanges() -> None:
    zones = time_zones()
    assert zones["212"] == ["America/New_York"]
    assert zones["208"] == ["America/Boise", "America/Denver", "America/Los_Angeles"]
    assert "800" not in zones


def test_local_hour_knows_every_zone_of_area_codes(database: str) -> None:
    migrate(SecretStr(database))
    at = "toDateTime64('2026-11-23 12:00:00', 3, 'UTC')"
    (row,) = rows(
        database,
        "SELECT groupUniqArray(zone) AS zones, groupUniqArrayIf(zone, hour IS NULL) AS unknown FROM "
        f"(SELECT arrayJoin(zones) AS zone, local_hour({at}, zone) AS hour FROM area_codes FINAL)",
    )
    assert {*row["zones"]} == {zone for zones in time_zones().values() for zone in zones}
    assert row["unknown"] == []
