"""Phone numbers have the same canonical form in ClickHouse and in Python."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.phone_number import canonical


@settings(max_examples=30)
@given(
    st.lists(
        st.text(max_size=20) | st.from_regex(r"\+?1?[ (]*[0-9]{3}[-) ]*[0-9]{3}[- ]?[0-9]{4}"), max_size=40
    )
)
@example(["1" * 11, "1" * 12, "2" * 11, "1", "", "1757544951\u0661", "1 757\n544-9511\n", "0"])
def test_canonical_numbers_are_those_of_python(client: Any, texts: list[str]) -> None:
    query = "SELECT arrayMap(text -> canonical_number(text), {texts:Array(String)})"
    assert client.query(query, parameters={"texts": texts}).first_row[0] == [*map(canonical, texts)]
