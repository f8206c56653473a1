"""Reads rules from a TOML file.

    [own_numbers]
    acme = ["74121"]

    [[rule]]
    name = "hours"
    account = "acme"
    keywords = ["HOURS"]
    text = "We are open from 8 to 5."

All problems are reported at once, each with its line, rule, key, value and what is allowed.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runtime.errors import StartupError
from streams.respond.fields import read_name, read_numbers
from streams.respond.rule_reader import Problem, RuleContext, RuleReader
from streams.respond.rules import Rule, Rules
from streams.respond.toml_lines import TomlLines

_AT_LINE = re.compile(r"(.*) \(at line ([0-9]+), column [0-9]+\)", re.DOTALL)
TABLES = ("own_numbers", "rule")


class InvalidRules(StartupError):
    """The file has no rules to work with; each problem names the line, the value and what is allowed."""

    def __init__(self, source: object, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{source}:{problem.line}: {problem.text}" for problem in self.problems))


def read_rules(path: Path, partitions: int, opt_out_words: Collection[str] = ()) -> Rules:
    """Read the rules of a file.

    Args:
        partitions: of the topic `auto_responses`, over which daily caps are divided.
        opt_out_words: words that opt out beside the certain ones (POSTBACKS_OPT_OUT_WORDS).

    Raises:
        InvalidRules: the file cannot be read, or has problems: all of them.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidRules(path, [Problem(1, f"must be a readable file ({error.strerror})")]) from None
    except UnicodeDecodeError:
        raise InvalidRules(path, [Problem(1, "must be in UTF-8")]) from None
    return parse_rules(text, partitions, opt_out_words, path)


def parse_rules(
    text: str, partitions: int, opt_out_words: Collection[str] = (), source: object = "rules"
) -> Rules:
    """Read the rules of a document; `source` names it in errors. See `read_rules`."""
    text = text.replace("\r\n", "\n")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRules(source, [_syntax_problem(error, text)]) from None
    lines = TomlLines(text)
    problems = [
        Problem(lines.line_of(key), f"{key}: there is no such table; allowed are [own_numbers] and [[rule]]")
        for key in document
        if key not in TABLES
    ]
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not tables:
        problems.append(Problem(lines.line_of("rule"), "there is no rule: each is a table [[rule]]"))
        tables = []
    readers = [
        RuleReader(index + 1, table, partial(lines.line_of, "rule", index))
        for index, table in enumerate(tables)
    ]
    own_numbers = _own_numbers(document.get("own_numbers", {}), lines, problems)
    for reader in readers:
        own_numbers[reader.account] |= reader.values.get("own_numbers", frozenset())
    rules = list(_build(readers, RuleContext(own_numbers, partitions, opt_out_words)))
    problems += [problem for reader in readers for problem in reader.problems]
    if problems:
        raise InvalidRules(source, problems)
    return Rules(tuple(rules), dict(own_numbers))


def _build(readers: Sequence[RuleReader], context: RuleContext) -> Iterator[Rule]:
    names: set[str] = set()
    for reader in readers:
        name = reader.values.get("name")
        if name in names:
            reader.refuse("name", "another rule has this name")
        elif name:
            names.add(name)
        if rule := reader.build(context):
            yield rule


def _own_numbers(table: Any, lines: TomlLines, problems: list[Problem]) -> defaultdict[str, frozenset[str]]:
    found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    if not isinstance(table, dict):
        problems.append(
            Problem(lines.line_of("own_numbers"), "own_numbers: must be a table of accounts, [own_numbers]")
        )
        return found
    for account, numbers in table.items():
        try:
            found[read_name(account)] = read_numbers(numbers)
        except ValueError as error:
            problems.append(
                Problem(
                    lines.line_of("own_numbers", account), f"own_numbers: {account} = {numbers!r}: {error}"
                )
            )
    return found


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str) -> Problem:
    if match := _AT_LINE.fullmatch(str(error)):
        return Problem(int(match[2]), f"not valid TOML: {match[1]}")
    return Problem(text.count("\n") + 1, f"not valid TOML: {error}")
