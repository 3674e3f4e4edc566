"""The `activity` command: the verbs of pipeline and exporters, and those that run the whole system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exporters import cli as exporters_cli
from pipeline import cli as pipeline_cli
from pipeline import cli_intake
from pipeline import console
from pipeline.cli import Data
from pipeline.settings import DEFAULT_DATA

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Exact reports from zero-trust gateway events.")
for part in (pipeline_cli.app, cli_intake.app, exporters_cli.app):
    app.registered_commands += part.registered_commands
    app.registered_groups += part.registered_groups


@app.command()
def up(
    data: Data = DEFAULT_DATA,
    port: Annotated[int | None, typer.Option("--port", help="Port of the reports service")] = None,
) -> None:
    """Run the whole system in the foreground until Ctrl-C.  Example: activity up --data .activity"""
    from deploy.local import stack

    stack.up(data, port=port)


def main() -> None:
    console.guarded(lambda: app(standalone_mode=True))


if __name__ == "__main__":
    main()
