"""The `activity` command: the verbs of pipeline and exporters, and those that run the whole system."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from exporters import cli as exporters_cli
from exporters import cli_sync
from pipeline import cli as pipeline_cli
from pipeline import cli_intake, console
from pipeline import settings as settings_module
from pipeline.cli import Data, Json
from pipeline.errors import EXIT_CONFIG, EXIT_REQUEST
from pipeline.intake.places import OPENERS, Objects, Way
from pipeline.settings import DEFAULT_DATA

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Exact reports from zero-trust gateway events.",
)
for part in (pipeline_cli.app, cli_intake.app, exporters_cli.app, cli_sync.app):
    app.registered_commands += part.registered_commands
    app.registered_groups += part.registered_groups


def _bucket(name: str, way: Way) -> Objects:
    from deploy import objects

    return objects.bucket(name, way)


OPENERS["s3"] = _bucket


@app.command()
def up(
    data: Data = DEFAULT_DATA,
    port: Annotated[int | None, typer.Option("--port", help="Port of the reports service")] = None,
    with_samples: Annotated[bool, typer.Option("--demo", help="Take in the shipped samples first")] = False,
    s3: Annotated[bool, typer.Option("--s3", help="Deliver to an S3 server of its own instead of a directory")] = False,
) -> None:
    """Run the whole system in the foreground until Ctrl-C.  Example: activity up --data .activity"""
    from deploy import demo as demonstration
    from deploy.local import stack

    stack.up(data, port=port, s3=s3, before_ready=demonstration.take_in if with_samples else None)


@app.command()
def check(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Look at everything that can be off; exit 1 if something is.  Example: activity check --json"""
    from deploy import check as checks

    found = checks.check(settings_module.load(data))
    if as_json:
        console.stdout.print_json(json.dumps({"ok": found.ok, **dataclasses.asdict(found)}))
    else:
        for row in found.ledgers:
            rejected = sum(row["rejected"].values())
            counts = f"applied {row['applied']} + duplicate {row['duplicate']} + rejected {rejected} + gaps {row['gaps']} + lost {row['lost']}"
            console.stdout.print(
                f"{row['partition']}: {counts} = {row['offset'] + 1 - row['first_offset']} of {row['end']}",
                markup=False,
            )
        console.stdout.print(
            f"waiting: {found.worker_lag} for a worker, {sum(found.store_lag.values())} for the store", markup=False
        )
        for line in found.off:
            console.stdout.print(f"OFF: {line}", markup=False)
        console.stdout.print("something is off" if found.off else "everything holds", markup=False)
    raise typer.Exit(0 if found.ok else EXIT_REQUEST)


@app.command()
def demo() -> None:
    """The whole system in a temporary directory: takes in the shipped samples, prints the reports, stops.  Example: activity demo"""
    from deploy import demo as demonstration

    demonstration.run()


bench_app = typer.Typer(no_args_is_help=True, help="Measurements on this machine.")
app.add_typer(bench_app, name="bench")


@bench_app.command("worker")
def bench_worker(events: Annotated[int, typer.Option("--events", help="How many events")] = 1_000_000) -> None:
    """How fast one worker catches up.  Example: activity bench worker --events 1000000"""
    from deploy import bench

    bench.worker(events)


@bench_app.command("latency")
def bench_latency(
    rate: Annotated[int, typer.Option("--rate", help="Events per second")] = 10_000,
    seconds: Annotated[int, typer.Option("--seconds", help="For how long")] = 30,
    days: Annotated[float, typer.Option("--days", help="Event time that passes meanwhile")] = 0,
) -> None:
    """How long an event takes to become visible in reports.  Example: activity bench latency --rate 10000"""
    from deploy import bench_latency

    bench_latency.run(rate, seconds, days)


@bench_app.command("report")
def bench_report(
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="Days in which they are there")] = 30,
    users: Annotated[int, typer.Option("--users", min=1, help="People")] = 10_000,
    rollups: Annotated[int, typer.Option("--rollups", min=1, max=96, help="Rollups of each, a day")] = 12,
) -> None:
    """How long the Active Users report takes, and how much memory.  Example: activity bench report --days 90"""
    from deploy import bench_report

    bench_report.run(days, users, rollups)


@bench_app.command("sync")
def bench_sync(
    events: Annotated[int, typer.Option("--events", help="How many sign-ins go through the steps")] = 200_000,
    lag: Annotated[int, typer.Option("--lag", help="How many a whole process catches up with; 0: none")] = 1_000_000,
) -> None:
    """How fast events become objects, step by step and as a whole.  Example: activity bench sync --lag 1000000"""
    from deploy import bench_sync

    bench_sync.run(events, lag)


@bench_app.command("web")
def bench_web(
    rate: Annotated[int, typer.Option("--rate", help="Events per second meanwhile")] = 5_000,
    seconds: Annotated[
        int,
        typer.Option("--seconds", min=5, help="For how long; of one minute the slowest hundredth is a dozen answers"),
    ] = 300,
    users: Annotated[int, typer.Option("--users", min=100, help="People in the store")] = 10_000,
    days: Annotated[int, typer.Option("--days", min=1, help="Days of them")] = 30,
    viewers: Annotated[int, typer.Option("--viewers", min=0, help="Browsers on the event stream")] = 100,
) -> None:
    """How fast pages and snapshots answer while events arrive.  Example: activity bench web --seconds 30"""
    from deploy import bench_web

    bench_web.run(rate, seconds, users, days, viewers)


@bench_app.command("soak")
def bench_soak(
    minutes: Annotated[float, typer.Option("--minutes", help="For how long")] = 30,
    rate: Annotated[int, typer.Option("--rate", help="Events per second")] = 2_000,
) -> None:
    """Deliver at a steady rate while things go wrong, then prove it.  Example: activity bench soak --minutes 2"""
    from deploy import soak

    soak.run(minutes, rate)


@bench_app.command("outage")
def bench_outage(
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="For how long the S3 server is away")] = 60,
    rate: Annotated[int, typer.Option("--rate", min=1, help="Events per second meanwhile")] = 2_000,
) -> None:
    """How soon a delivery is live again after its S3 server was away.  Example: activity bench outage --seconds 60"""
    from deploy import soak

    soak.outage(seconds, rate)


def main() -> None:
    console.guarded(_run)


def _run() -> None:
    """What is wrong on the command line is one line, too."""
    try:
        code = app(standalone_mode=False, prog_name="activity")
    except TyperException as error:
        words = error.format_message().replace("\n", " ")
        if words:  # without any verb the help was printed instead
            context = getattr(error, "ctx", None)
            verb = context.command_path if context is not None else "activity"
            console.say(f"activity: {words}{'' if words[-1] in '.?' else '.'} See `{verb} --help`")
        sys.exit(EXIT_CONFIG)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
