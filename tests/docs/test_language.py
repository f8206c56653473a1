"""Rejects private idioms, and words that treat machines as persons (see CONTRIBUTING)."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ROOT

WORDS = r"nobody|somebody|whoever|anew|under[ _]way|let(?:s|ting)?[ _]go|said[ _]again|as far as"
FORBIDDEN = re.compile(rf"(?<![a-z])(?:{WORDS})(?![a-z])", re.IGNORECASE)
#: Files that quote these words.
EXEMPT = {"CONTRIBUTING.md", "tests/docs/test_language.py"}


def tracked(*patterns: str) -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [
        name for name in done.stdout.split("\0") if name and name not in EXEMPT and (ROOT / name).exists()
    ]


def python_words(source: str) -> Iterator[tuple[int, str]]:
    """Yield the names, comments and docstrings of a Python file, each with its line."""
    previous = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        starts_statement = previous in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL)
        if token.type in (tokenize.NAME, tokenize.COMMENT) or (
            token.type == tokenize.STRING and starts_statement
        ):
            yield token.start[0], token.string
        if token.type != tokenize.COMMENT:
            previous = token.type


def findings(name: str) -> list[str]:
    text = Path(ROOT / name).read_text()
    parts = python_words(text) if name.endswith(".py") else enumerate(text.splitlines(), 1)
    return [f"{name}:{line}: {found}" for line, part in parts for found in FORBIDDEN.findall(part)]


def test_words_are_found_in_names_comments_and_docstrings() -> None:
    source = '"""Somebody."""\nunder_way = 1  # anew\ntext = "nobody"\n'
    found = [word for _, part in python_words(source) for word in FORBIDDEN.findall(part)]
    assert found == ["Somebody", "under_way", "anew"]


@pytest.mark.parametrize("pattern", ["*.py", "*.md", "*.sql", "*.yml"])
def test_files_contain_no_rejected_words(pattern: str) -> None:
    assert [finding for name in tracked(pattern) for finding in findings(name)] == []
