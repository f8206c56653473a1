"""What `postbacks respond` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.postback import Response
from operations.auto_responses import UnknownResponse, explain_reason
from operations.timeline import printable, readable_time
from sending.segments import count_segments
from streams.auto_response import Reason
from streams.respond.decide import Decision, RespondOptions, decide
from streams.respond.history import History
from streams.respond.matching import Incoming, Mismatch, find_mismatch, keyword_in
from streams.respond.rules import Rule, Rules


def print_check(response: Response, rules: Rules, now: datetime, options: RespondOptions) -> bool:
    """Print each rule with why it matches or not, and the decision; return whether a rule answers."""
    console = Console(highlight=False)
    incoming = Incoming.of(response, options.opt_out_words)
    decision = decide(response, None, rules, History(), now, options)
    checked = list(_check(rules, incoming, now, decision.reason is Reason.ANSWER))
    if console.is_terminal:
        table = Table(box=None, show_header=False, pad_edge=False)
        for matches, name, why in checked:
            table.add_row(Text(matches, "green" if matches == "yes" else "dim"), Text(name), Text(why))
        console.print(table)
    else:
        for row in checked:
            click.echo("\t".join(row))
    console.print()
    for line in _verdict(decision):
        console.print(line, soft_wrap=True)
    return decision.reason is Reason.ANSWER


def _check(
    rules: Rules, incoming: Incoming, now: datetime, is_answered: bool
) -> Iterator[tuple[str, str, str]]:
    """For each rule whether it answers, its name, and why."""
    decided = False
    for rule in rules.rules:
        if mismatch := find_mismatch(rule, incoming, now):
            yield "no", rule.name, _explain(rule, mismatch)
        elif decided:
            yield "no", rule.name, f"{_match(rule, incoming)}, but a rule before it matches, too"
        else:
            decided = True
            match = _match(rule, incoming)
            yield ("yes", rule.name, match) if is_answered else ("no", rule.name, f"{match}, but see below")


def _explain(rule: Rule, mismatch: Mismatch) -> str:
    match mismatch:
        case Mismatch.ACCOUNT:
            return f"{mismatch}: {rule.account}"
        case Mismatch.OWN_NUMBER:
            return f"{mismatch}: {', '.join(sorted(rule.own_numbers))}"
        case Mismatch.SCHEDULE:
            return f"{mismatch}: {rule.schedule}"
        case Mismatch.KEYWORDS:
            return f"{mismatch}: {', '.join(rule.keywords.values())}"
        case Mismatch.PATTERN if rule.pattern:
            return f"{mismatch}: {rule.pattern.pattern}"
    return str(mismatch)


def _match(rule: Rule, incoming: Incoming) -> str:
    if incoming.signal == "opted_out":
        return "the text opts out"
    if keyword := keyword_in(rule, incoming):
        return f"keyword {keyword}"
    return f"pattern {rule.pattern.pattern}" if rule.pattern else "any text"


def _verdict(decision: Decision) -> Iterator[Text]:
    if decision.reason is not Reason.ANSWER or not decision.rule:
        yield Text.assemble(("No answer", "bold yellow"), f": {explain_reason(decision.reason)}")
        return
    count = count_segments(decision.text)
    size = f"{count.segments} segment{'s' if count.segments > 1 else ''}, {count.encoding}"
    yield Text.assemble(("Answer", "bold green"), f" of {decision.rule.name} ({size}):")
    yield Text(printable(decision.text))


def print_unknown(responses: Sequence[UnknownResponse]) -> None:
    """Print answers with an unknown outcome: a table on a terminal, else tab-separated lines."""
    columns = ("at", "number", "rule", "reference", "account", "detail")
    rows = [
        (
            readable_time(each.at)[: len("2026-11-28 12:00:00")],
            each.number,
            each.rule,
            each.reference,
            each.account,
            printable(each.detail),
        )
        for each in responses
    ]
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name in ("at", "number"), overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
