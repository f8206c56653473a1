"""Which topics `postbacks up` drains before it stops a stage."""

from __future__ import annotations

from cli.up.drain import INPUTS
from sinks.tables import TABLE_OF
from streams.tables import CONTACTS_TABLE, MESSAGES_TABLE


def test_stages_are_stopped_once_all_inputs_are_drained() -> None:
    drained = {stage: {topic for topics in inputs for topic in topics} for stage, inputs in INPUTS.items()}
    assert drained == {
        "streams": {*MESSAGES_TABLE.inputs, *CONTACTS_TABLE.inputs},
        "sinks": {*TABLE_OF},
    }
