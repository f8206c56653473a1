"""What other teams build on: schemas that say what is written, and earlier records that still count.

`docs/asyncapi.yaml` is held against AsyncAPI's own schema, and records against ours, by validators from npm
(tests/docs/asyncapi), where npm is there; a copy of them is kept in `.cache/`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from docs.generate import examples
from docs.generate.schemas import STRUCT_OF, page
from gateway.postback import POSTBACK_TOPICS, REJECTED, decode, decode_rejected, encode
from streams.message import MESSAGES, NewerVersion, decode_message, encode_message, join, merge
from tests.support.engines import Engines
from tests.support.process import ROOT

NPM = "AsyncAPI's schema and ajv, by npm"
#: Written by version 1 and never changed: whoever keeps a topic, or a row of `rejected`, has such.
KEPT = ROOT / "tests" / "fixtures" / "records" / "v1"
VALIDATOR = ROOT / "tests" / "docs" / "asyncapi"
DOCUMENT = ROOT / "docs" / "asyncapi.yaml"


def kept(topic: str) -> dict[str, bytes]:
    """Records of a topic, by the names of their files."""
    return {file.name: file.read_bytes().strip() for file in sorted(KEPT.glob(f"{topic}.*json"))}


@pytest.mark.parametrize("topic", POSTBACK_TOPICS)
def test_a_postback_of_an_earlier_version_is_read_with_nothing_lost(topic: str) -> None:
    assert kept(topic)
    for name, value in kept(topic).items():
        postback = decode(topic, value)
        assert json.loads(value).items() <= msgspec.to_builtins(postback).items(), name
        assert merge(None, postback).message_id == postback.message_id


def test_a_rejection_of_an_earlier_version_is_read_with_nothing_lost() -> None:
    assert kept(REJECTED)
    for name, value in kept(REJECTED).items():
        assert json.loads(value).items() <= msgspec.to_builtins(decode_rejected(value)).items(), name


def test_a_state_of_an_earlier_version_is_read_with_nothing_lost_and_joins() -> None:
    assert kept(MESSAGES)
    for name, value in kept(MESSAGES).items():
        state = decode_message(value)
        assert json.loads(encode_message(state)) == json.loads(value), name
        assert join(state, state) == state


def test_a_field_that_a_later_version_adds_disturbs_no_reader_but_a_later_format_does() -> None:
    for topic in POSTBACK_TOPICS:
        for value in kept(topic).values():
            assert decode(topic, value[:-1] + b',"weather":"fair"}') == decode(topic, value)
    (state, *_) = kept(MESSAGES).values()
    with pytest.raises(NewerVersion):
        decode_message(json.dumps(json.loads(state) | {"version": 99}).encode())


def test_the_examples_are_what_the_pipeline_writes() -> None:
    for topic, (_, value) in examples.records().items():
        assert value in kept(topic).values()
    for topic, postback in examples.postbacks().items():
        assert decode(topic, encode(postback)) == postback


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = yaml.safe_load(DOCUMENT.read_text())
    references = list(find_references(document))
    assert len(references) > 10
    for reference in references:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    assert document["channels"].keys() == STRUCT_OF.keys()


def find_references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in find_references(value)]
    if isinstance(node, list):
        return [found for value in node for found in find_references(value)]
    return []


@pytest.fixture(scope="module")
def validator(engines: Engines) -> Path:
    """The folder with the validators in it."""
    if not (shutil.which("npm") and shutil.which("node")):
        engines.skip(NPM, "npm not found")
    folder = ROOT / ".cache" / "asyncapi"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (VALIDATOR / "package-lock.json").read_text()
    if not (folder / "installed").exists() or (folder / "installed").read_text() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(VALIDATOR / name, folder)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            engines.skip(NPM, f"npm cannot install them: {done.stderr.strip().splitlines()[-1]}")
        (folder / "installed").write_text(lock)
    engines.used.add(NPM)
    shutil.copy(VALIDATOR / "validate.js", folder)
    return folder


def problems(validator: Path, document: Any, values: list[tuple[str, Any]]) -> list[str]:
    """All that is wrong with the document, and with values as those of the topics."""
    schemas = {topic: json.loads(page(topic)) for topic in STRUCT_OF}
    done = subprocess.run(
        ["node", "validate.js"],
        cwd=validator,
        input=json.dumps({"asyncapi": document, "schemas": schemas, "values": values}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def all_kept() -> list[tuple[str, Any]]:
    return [(topic, json.loads(value)) for topic in STRUCT_OF for value in kept(topic).values()]


def test_the_document_is_asyncapi_and_every_record_is_as_it_says(validator: Path) -> None:
    assert problems(validator, yaml.safe_load(DOCUMENT.read_text()), all_kept()) == []


def test_what_is_wrong_would_be_found(validator: Path) -> None:
    document = yaml.safe_load(DOCUMENT.read_text())
    document["channels"]["messages"]["addres"] = document["channels"]["messages"].pop("address")
    values = [(topic, value | {"account": 42, "received_at": "yesterday"}) for topic, value in all_kept()]
    found = "\n".join(problems(validator, document, values))
    assert "asyncapi/channels/messages" in found
    for topic in STRUCT_OF:
        assert f"{topic}/account: must be string" in found
    assert 'postbacks.sent/received_at: must match format "date-time"' in found
