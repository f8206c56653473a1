"""The `postbacks` command: loads the subcommand that is called, and passes it the settings."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from cli.up.stack_file import find_settings
from runtime.errors import StartupError
from runtime.process import exit_status

#: The module of each command. Only the one that is called is imported, as some take long.
COMMANDS = {
    "up": "cli.up.command",
    "message": "cli.message",
    "contact": "cli.contact",
    "contacts": "cli.contacts",
    "tail": "cli.tail",
    "sql": "cli.sql",
    "simulate": "cli.simulate",
    "send": "cli.send",
    "respond": "cli.respond",
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


class LazyGroup(click.Group):
    """Imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        return getattr(import_module(module), cmd_name) if module else None


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="postbacks")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The folder of all data: of the stack that a command uses, or that `up` runs. "
    "[default: POSTBACKS_DATA, data]",
)
@click.pass_context
def postbacks(context: click.Context, data: Path | None) -> None:
    """Receive the postbacks of an SMS provider, correlate them by message, query them in SQL.

    `postbacks up` runs everything on this machine and prints what to do next. Settings are environment
    variables, POSTBACKS_…; `postbacks settings` lists them. Each command has a help page: --help.

    \b
    Example:
      postbacks up
      postbacks message 9a35e913-ded0-7574-4642-5f60c550c706
      postbacks sql "SELECT status, count() FROM messages GROUP BY status"

    \b
    Exit status of all commands:
      0  success
      1  failed, or not found
      2  refused: a setting, an option, a topic or the schema is wrong
    """
    if data:
        context.default_map = {"up": {"data": data}, "local": {"data": data}}
    if context.obj is None:  # set by callers in Python that bring their own settings
        context.obj = partial(find_settings, data)


def main() -> None:
    try:
        postbacks(prog_name="postbacks")
    except StartupError as error:
        click.echo(error, err=True)
        sys.exit(exit_status(error))


if __name__ == "__main__":
    main()
