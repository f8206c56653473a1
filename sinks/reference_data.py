"""Fills the tables `holidays` and `area_codes` from libraries, once for each of their versions.

Rows replace those of the same key, so that several processes may fill them at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import structlog

from runtime.clickhouse.client import insert_settings

#: Holidays of these years; those before the first opt-outs, and after anybody sends, do not matter.
FIRST_YEAR, LAST_YEAR = 2000, 2099
#: Country code of the numbering plan whose area codes have three digits.
COUNTRY_CODE, AREA_DIGITS = "1", 3

Rows: TypeAlias = list[list[Any]]

log = structlog.get_logger(__name__)


class Reference(NamedTuple):
    """A table that is filled from a library."""

    table: str
    library: str
    columns: tuple[str, ...]

    @property
    def source(self) -> str:
        """What its rows come from."""
        return f"{self.library} {version(self.library)}"


HOLIDAYS = Reference("holidays", "holidays", ("day", "name"))
AREA_CODES = Reference("area_codes", "phonenumbers", ("area_code", "zones"))


def federal_holidays() -> Iterator[tuple[date, str]]:
    """The days on which the US observe a federal holiday, and its name."""
    import holidays  # only needed when the table is filled

    yield from holidays.country_holidays("US", years=range(FIRST_YEAR, LAST_YEAR + 1)).items()


def time_zones() -> dict[str, list[str]]:
    """The time zones of each area code, sorted; several if it is in several, or if its exchanges are."""
    from phonenumbers.tzdata import TIMEZONE_DATA  # only needed when the table is filled

    zones: dict[str, set[str]] = {}
    for prefix, found in TIMEZONE_DATA.items():
        area_code = prefix[len(COUNTRY_CODE) :][:AREA_DIGITS]
        if prefix.startswith(COUNTRY_CODE) and len(area_code) == AREA_DIGITS:
            zones.setdefault(area_code, set()).update(found)
    return {area_code: sorted(found) for area_code, found in sorted(zones.items())}


def fill_reference_data(client: Any) -> None:
    """Fill the tables that have no rows of the installed version of their library."""
    for reference, rows in ((HOLIDAYS, federal_holidays), (AREA_CODES, lambda: time_zones().items())):
        query = f"SELECT count() FROM {reference.table} WHERE source = {{source:String}}"
        source = reference.source
        if int(client.command(query, parameters={"source": source})):
            continue
        client.insert(
            reference.table,
            [[*row, source] for row in rows()],
            column_names=[*reference.columns, "source"],
            settings=insert_settings(client.server_settings),
        )
        log.info("Table filled", table=reference.table, source=source)
