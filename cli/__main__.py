"""The `postbacks` command: reads the settings, and hands them to the command that was asked for."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from cli.up.stack_file import find_settings
from runtime.errors import KafkaUnavailable, StartupError
from runtime.process import FAILED, REFUSED

#: Where each command is. Only the one that is asked for is loaded: some load much.
COMMANDS = {
    "up": "cli.up.command",
    "message": "cli.message",
    "tail": "cli.tail",
    "sql": "cli.sql",
    "simulate": "cli.simulate",
    "settings": "cli.settings",
    "gateway": "cli.run",
    "streams": "cli.run",
    "sinks": "cli.run",
    "topics": "cli.topics",
    "migrate": "cli.migrate",
    "reconcile": "cli.reconcile",
    "replay": "cli.replay",
    "token": "cli.token",
    "local": "cli.run",
}


class Commands(click.Group):
    """Finds a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        return getattr(import_module(module), cmd_name) if module else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="postbacks")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Ask the stack that `postbacks up` runs on this folder. [default: POSTBACKS_DATA, data]",
)
@click.pass_context
def postbacks(context: click.Context, data: Path | None) -> None:
    """Receive the postbacks of an SMS provider, tie them together by message, and answer in SQL.

    `postbacks up` runs everything on this machine and says what to do next. Settings are environment
    variables, POSTBACKS_…; `postbacks settings` lists them. Each command has a page of its own: --help.

    \b
    Example:
      postbacks up
      postbacks message 9a35e913-ded0-7574-4642-5f60c550c706
      postbacks sql "SELECT status, count() FROM messages GROUP BY status"

    \b
    Exit status of all commands:
      0  done
      1  failed, or not found
      2  refused: a setting, an option, a topic or the schema is not as it must be
    """
    if context.obj is None:  # a caller in Python may bring its own
        context.obj = partial(find_settings, data)


def main() -> None:
    try:
        postbacks(prog_name="postbacks")
    except StartupError as why:
        click.echo(why, err=True)
        sys.exit(FAILED if isinstance(why, KafkaUnavailable) else REFUSED)


if __name__ == "__main__":
    main()
