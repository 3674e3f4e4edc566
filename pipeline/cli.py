"""The verbs of the pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline import console
from pipeline import settings as settings_module
from pipeline.errors import EXIT_REQUEST
from pipeline.settings import DEFAULT_DATA

app = typer.Typer(no_args_is_help=True, add_completion=False)
topics_app = typer.Typer(no_args_is_help=True, help="The topics on Kafka.")
app.add_typer(topics_app, name="topics")

Data = Annotated[Path, typer.Option("--data", help="Directory of the system's state")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command()
def worker(
    data: Data = DEFAULT_DATA,
    port: Annotated[int | None, typer.Option("--port", help="Port of its /metrics on 127.0.0.1; 0: none")] = None,
) -> None:
    """Turn events into rolling tables; several may run.  Example: activity worker --data .activity"""
    console.collect_rarely()
    from pipeline import app as worker_app

    worker_app.main(settings_module.load(data, worker_port=port))


@topics_app.command("create")
def topics_create(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Make missing topics and mend their settings.  Example: activity topics create --data .activity"""
    from pipeline import broker

    done = broker.create(settings_module.load(data))
    if as_json:
        console.stdout.print_json(json.dumps(done))
        return
    for name, what in done.items():
        console.stdout.print(f"{name}  {what}", markup=False)


@topics_app.command("check")
def topics_check(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Say how the topics differ from what they must be; exit 1 if they do.  Example: activity topics check"""
    from pipeline import broker

    off = broker.check(settings_module.load(data))
    if as_json:
        console.stdout.print_json(json.dumps({"differences": off}))
    else:
        for line in off:
            console.stdout.print(line, markup=False)
        if not off:
            console.say("all topics are as they must be")
    raise typer.Exit(EXIT_REQUEST if off else 0)
