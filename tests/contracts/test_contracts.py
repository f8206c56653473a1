"""Contracts with other teams: schemas match what is written, and records of earlier versions stay readable.

Where npm is installed, validators from npm (`tests/docs/asyncapi`) check `docs/asyncapi.yaml` against
AsyncAPI's own schema, and records against ours; they are cached in `.cache/`.
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
from gateway.postback import POSTBACK_TOPICS, decode, encode
from gateway.rejected import REJECTED, decode_rejected
from gateway.submission import SUBMISSIONS, decode_submission
from streams.auto_response import (
    AUTO_RESPONSES,
    decode_auto_response,
    encode_auto_response,
    join_auto_responses,
)
from streams.contact import CONTACTS, decode_contact, encode_contact, join_contacts, merge_contact
from streams.contact_event import CONTACT_EVENTS, decode_contact_event
from streams.join import join
from streams.merge import merge
from streams.message import MESSAGES, decode_message, encode_message
from streams.versions import NewerVersion
from tests.support.engines import Engines
from tests.support.process import ROOT

NPM = "AsyncAPI's schema and ajv, from npm"
#: Records of version 1, never changed: topics and rows of `rejected` contain such records.
RECORDS = ROOT / "tests" / "fixtures" / "records" / "v1"
VALIDATOR = ROOT / "tests" / "docs" / "asyncapi"
DOCUMENT = ROOT / "docs" / "asyncapi.yaml"


def stored(topic: str) -> dict[str, bytes]:
    """The records of a topic, by file name."""
    return {file.name: file.read_bytes().strip() for file in sorted(RECORDS.glob(f"{topic}.*json"))}


@pytest.mark.parametrize("topic", POSTBACK_TOPICS)
def test_earlier_postback_decodes_without_loss(topic: str) -> None:
    assert stored(topic)
    for name, value in stored(topic).items():
        postback = decode(topic, value)
        assert json.loads(value).items() <= msgspec.to_builtins(postback).items(), name
        assert merge(None, postback).message_id == postback.message_id


def test_earlier_rejection_decodes_without_loss() -> None:
    assert stored(REJECTED)
    for name, value in stored(REJECTED).items():
        assert json.loads(value).items() <= msgspec.to_builtins(decode_rejected(value)).items(), name


def test_earlier_submission_decodes_without_loss() -> None:
    assert stored(SUBMISSIONS)
    for name, value in stored(SUBMISSIONS).items():
        submission = decode_submission(value)
        assert json.loads(value).items() <= msgspec.to_builtins(submission).items(), name
        assert decode_submission(value[:-1] + b',"weather":"fair"}') == submission


def test_earlier_state_decodes_without_loss_and_joins() -> None:
    assert stored(MESSAGES)
    for name, value in stored(MESSAGES).items():
        state = decode_message(value)
        assert json.loads(encode_message(state)) == json.loads(value), name
        assert join(state, state) == state


def test_earlier_contact_decodes_without_loss_and_joins() -> None:
    (event,) = map(decode_contact_event, stored(CONTACT_EVENTS).values())
    (value,) = stored(CONTACTS).values()
    contact = decode_contact(value)
    assert json.loads(encode_contact(contact)) == json.loads(value)
    assert merge_contact(contact, event) is join_contacts(contact, contact) is contact


def test_earlier_automatic_response_decodes_without_loss() -> None:
    assert stored(AUTO_RESPONSES)
    for name, value in stored(AUTO_RESPONSES).items():
        record = decode_auto_response(value)
        assert json.loads(encode_auto_response(record)) == json.loads(value), name
        assert join_auto_responses(record, record) is record


def test_unknown_fields_are_ignored_and_newer_versions_refused() -> None:
    for topic in POSTBACK_TOPICS:
        for value in stored(topic).values():
            assert decode(topic, value[:-1] + b',"weather":"fair"}') == decode(topic, value)
    (state, *_) = stored(MESSAGES).values()
    with pytest.raises(NewerVersion):
        decode_message(json.dumps(json.loads(state) | {"version": 99}).encode())


def test_examples_equal_what_the_pipeline_writes() -> None:
    for topic, (_, value) in examples.records().items():
        assert value in stored(topic).values()
    for topic, postback in examples.postbacks().items():
        assert decode(topic, encode(postback)) == postback


def test_references_of_the_document_resolve() -> None:
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
    """The folder with the installed validators."""
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
            engines.skip(NPM, f"npm ci failed: {done.stderr.strip().splitlines()[-1]}")
        (folder / "installed").write_text(lock)
    engines.used.add(NPM)
    shutil.copy(VALIDATOR / "validate.js", folder)
    return folder


def validate(validator: Path, document: Any, values: list[tuple[str, Any]]) -> list[str]:
    """Return all problems of the document, and of values of the topics."""
    schemas = {topic: json.loads(page(topic)) for topic in STRUCT_OF}
    done = subprocess.run(
        ["node", "validate.js"],
        cwd=validator,
        input=json.dumps({"asyncapi": document, "schemas": schemas, "values": values}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    problems: list[str] = json.loads(done.stdout)
    return problems


def all_stored() -> list[tuple[str, Any]]:
    return [(topic, json.loads(value)) for topic in STRUCT_OF for value in stored(topic).values()]


def test_document_and_records_are_valid(validator: Path) -> None:
    assert validate(validator, yaml.safe_load(DOCUMENT.read_text()), all_stored()) == []


def test_validators_find_invalid_documents_and_records(validator: Path) -> None:
    document = yaml.safe_load(DOCUMENT.read_text())
    document["channels"]["messages"]["addres"] = document["channels"]["messages"].pop("address")
    values = [(topic, value | {"account": 42, "received_at": "yesterday"}) for topic, value in all_stored()]
    found = "\n".join(validate(validator, document, values))
    assert "asyncapi/channels/messages" in found
    for topic in STRUCT_OF:
        assert f"{topic}/account: must be string" in found
    assert 'postbacks.sent/received_at: must match format "date-time"' in found
