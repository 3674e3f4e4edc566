"""The verbs of the sync, and the one that proves what it delivered."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline import console
from pipeline import settings as settings_module
from pipeline.errors import EXIT_REQUEST, RequestError
from pipeline.settings import DEFAULT_DATA

app = typer.Typer(no_args_is_help=True, add_completion=False)
Data = Annotated[Path, typer.Option("--data", help="Directory of the system's state")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
sync_app = typer.Typer(help="Deliver events to buckets and directories.  Example: activity sync --data .activity")
app.add_typer(sync_app, name="sync")


@sync_app.callback(invoke_without_command=True)
def sync(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Deliver events to the configured destinations, until a signal.  Example: activity sync --data .activity"""
    if context.invoked_subcommand is None:
        from exporters.sync import app as process

        process.main(settings_module.load(data))


@app.command()
def verify(
    where: Annotated[str, typer.Argument(help="s3://bucket/prefix, or a directory")],
    since: Annotated[str, typer.Option("--from", help="First hour of manifests, UTC")] = "",
    until: Annotated[str, typer.Option("--to", help="End, exclusive")] = "",
    endpoint_url: Annotated[str, typer.Option("--endpoint-url", help="Another S3 endpoint than the vendor's")] = "",
    region: Annotated[str, typer.Option("--region", help="Region of the bucket")] = "",
    as_json: Json = False,
) -> None:
    """Prove a delivery from what lies in the bucket alone; exit 1 if it is not complete.  Example: activity verify s3://bucket/prefix --from 2026-03-01

    Needs read access and no Kafka.  The same check as one file for others: `python -m exporters.sync.verify`, or copy exporters/sync/verify.py.
    """
    from exporters.sync import verify as verifier

    options = {k: v for k, v in (("endpoint_url", endpoint_url), ("region_name", region)) if v}
    try:
        hours = verifier.hour_of(since), verifier.hour_of(until)
    except ValueError:
        raise RequestError("--from and --to are days or instants, such as 2026-03-27 or 2026-03-27T10:00") from None
    with console.progress("verifying", 100) as advance:
        shown = [0]

        def told(done: int, of: int) -> None:
            percent = done * 100 // of if of else 100
            advance(percent - shown[0])
            shown[0] = percent

        found = verifier.Verifier(
            verifier.place_of(where, **options), since=hours[0], until=hours[1], advance=told
        ).run()
    if as_json:
        console.stdout.print_json(json.dumps({"ok": found.ok, **dataclasses.asdict(found)}))
    else:
        for line in verifier.lines_of(found):
            console.stdout.print(line, markup=False)
    raise typer.Exit(0 if found.ok else EXIT_REQUEST)
