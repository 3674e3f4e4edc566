"""The verbs of the sync, and the one that proves what it delivered."""

from __future__ import annotations

import dataclasses
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import console
from pipeline import settings as settings_module
from pipeline.errors import EXIT_REQUEST, RequestError, Unavailable
from pipeline.settings import DEFAULT_DATA

if TYPE_CHECKING:
    from exporters.sync.desk import Desk
    from exporters.sync.destinations import Destination

app = typer.Typer(no_args_is_help=True, add_completion=False)
Data = Annotated[Path, typer.Option("--data", help="Directory of the system's state")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
sync_app = typer.Typer(help="Deliver events to buckets and directories.  Example: activity sync --data .activity")
app.add_typer(sync_app, name="sync")


@sync_app.callback(invoke_without_command=True)
def sync(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Deliver events to the configured destinations, until a signal.  Example: activity sync --data .activity"""
    if context.invoked_subcommand is None:
        console.collect_rarely()
        from exporters.sync import app as process

        process.main(settings_module.load(data))


Name = Annotated[str, typer.Argument(help="The destination's name")]


def _desk(data: Path) -> AbstractContextManager[Desk]:
    from exporters.sync import desk

    return desk.following(settings_module.load(data))


@sync_app.command("status")
def status(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """How far each delivery is; exit 1 if one fails, or nobody delivers all of it.  Example: activity sync status --json"""
    import msgspec

    from pipeline.model.times import iso

    with _desk(data) as desk:
        found = [desk.summary(name, d) for name, d in sorted(desk.destinations().items())]
    if as_json:
        console.stdout.print_json(msgspec.json.encode(found).decode())
    for one in found if not as_json else ():
        since = f" since {iso(one.since)}" if one.since else ""
        console.stdout.print(f"{one.name} to {one.place}: {one.state}{since}", markup=False)
        behind = f"by {one.lag_records} records" if one.lag_records is not None else "is not known"
        behind += f", {one.lag_seconds:.0f} s" if one.lag_seconds is not None else ""
        console.stdout.print(f"  behind {behind}; lost to retention: {one.lost_records}", markup=False)
        if one.last_object:
            console.stdout.print(f"  last object {one.last_object}, {iso(one.stored_at)}", markup=False)
        if one.problem:
            console.stdout.print(f"  {one.problem}", markup=False)
    if not found:
        console.say("there is no destination; see docs/sync.md")
    bad = any(one.state not in ("delivering", "pausing", "paused") for one in found)
    raise typer.Exit(EXIT_REQUEST if bad else 0)


@sync_app.command("pause")
def pause(
    name: Name,
    note: Annotated[str, typer.Option("--note", help="Why, for the manifest")] = "",
    data: Data = DEFAULT_DATA,
) -> None:
    """Hold a delivery back; Kafka keeps the events meanwhile.  Example: activity sync pause siem --note maintenance"""
    with _desk(data) as desk:
        desk.pause(name, by="command line", note=note)
    console.say(f"{name} is paused; `activity sync resume {name}` goes on where it was")


@sync_app.command("resume")
def resume(name: Name, data: Data = DEFAULT_DATA) -> None:
    """Let a paused delivery go on.  Example: activity sync resume siem"""
    with _desk(data) as desk:
        desk.resume(name)
    console.say(f"{name} goes on")


@sync_app.command("test")
def sync_test(name: Name, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Look at a destination step by step, each right or with what to change; exit 1 if one is not.  Example: activity sync test siem

    Writes a few small objects below `_activity/` of its prefix, and claims the prefix for this system.
    """
    from exporters.sync import setup

    with _desk(data) as desk:
        destinations = desk.destinations()
    steps = []
    for step in setup.check(settings_module.load(data), destinations, name):
        steps.append(step)
        if not as_json:
            sign = {True: "ok", False: "CHANGE", None: "?"}[step.ok]
            console.stdout.print(f"{sign:7} {step.name}: {step.said}", markup=False)
    wrong = [step.name for step in steps if step.ok is False]
    if as_json:
        console.stdout.print_json(json.dumps({"ok": not wrong, "steps": [dataclasses.asdict(s) for s in steps]}))
    raise typer.Exit(EXIT_REQUEST if wrong else 0)


@sync_app.command("backfill")
def backfill(
    name: Name,
    since: Annotated[
        str, typer.Option("--from", help="First day or instant of event time, UTC unless it says otherwise")
    ],
    until: Annotated[str, typer.Option("--to", help="End, exclusive")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count, deliver nothing")] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Deliver a stretch of event time again, into a folder of its own.  Example: activity sync backfill siem --from 2026-03-01 --to 2026-03-02"""
    from exporters.sync import backfill as backfills

    from_ms, to_ms = _instant(since), _instant(until)
    if from_ms >= to_ms:
        raise RequestError("the stretch is empty: --from must lie before --to")
    settings = settings_module.load(data)
    with _desk(data) as desk:
        known = desk.destinations()
    if name not in known:
        raise RequestError(f"there is no destination {name}; there are: {', '.join(sorted(known)) or 'none'}")
    made = backfills.plan(settings, known[name], from_ms)
    for line in made.out_of_reach:
        console.say(f"out of reach: {line}")
    with console.progress("reading", made.records) as advance:
        if dry_run:
            told = backfills.count(settings, known[name], (from_ms, to_ms), made, advance)
        else:
            run = backfills.Backfill(settings, name, known[name], made, (from_ms, to_ms))
            run.deliver(advance)
            told = {"events": run.events}
    where = f"{known[name].target.place}/backfill/{backfills.label(from_ms, to_ms)}"
    if as_json:
        console.stdout.print_json(
            json.dumps({**told, "to": where, "dry_run": dry_run, "out_of_reach": made.out_of_reach})
        )
    else:
        verb = "would be delivered" if dry_run else "delivered"
        console.say(f"{told['events']} events {verb} to {where}")


def _instant(text: str) -> int:
    """UTC ms.  Raises RequestError."""
    from datetime import UTC, datetime

    from pipeline.model.windows import END_MS

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(f"{text!r} is not a day or an instant, such as 2026-03-27 or 2026-03-27T10:00:00Z") from None
    ms = int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= ms < END_MS:
        raise RequestError(f"{text} is not between 1970 and 2105; events have times from 1980 on")
    return ms


def _known(data: Path, name: str) -> dict[str, Destination]:
    """Destinations; those made by the API only if this one is not in the settings."""
    from exporters.sync.destinations import configured

    settings = settings_module.load(data)
    found = configured(settings)
    if name not in found and settings.kafka:
        with _desk(data) as desk:
            found = desk.destinations()
    return found


@app.command()
def verify(
    where: Annotated[str, typer.Argument(help="s3://bucket/prefix, a directory, or a destination's name")],
    since: Annotated[str, typer.Option("--from", help="First hour of manifests, UTC")] = "",
    until: Annotated[str, typer.Option("--to", help="End, exclusive; rounded up to an hour")] = "",
    endpoint_url: Annotated[str, typer.Option("--endpoint-url", help="Another S3 endpoint than the vendor's")] = "",
    region: Annotated[str, typer.Option("--region", help="Region of the bucket")] = "",
    keys: Annotated[
        Path | None, typer.Option("--keys", help='File with {"key_id": …, "secret": …}; else the machine\'s own')
    ] = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Prove a delivery from what lies in the bucket alone; exit 1 if it is not complete.  Example: activity verify s3://bucket/prefix --from 2026-03-01

    Needs read access, and Kafka only for the name of a destination that is not in the settings.  The same check as one file for others: `python -m exporters.sync.verify`, or copy exporters/sync/verify.py.
    """
    from exporters.sync import verify as verifier
    from exporters.sync.delivered import delivered

    known = {} if where.startswith("s3://") or Path(where).is_dir() else _known(data, where)
    try:
        hours = verifier.hour_of(since), verifier.hour_of(until, up=True)
    except ValueError:
        raise RequestError("--from and --to are days or instants, such as 2026-03-27 or 2026-03-27T10:00") from None
    with console.progress("verifying", 100) as advance:
        shown = [0]

        def told(done: int, of: int) -> None:
            percent = done * 100 // of if of else 100
            advance(percent - shown[0])
            shown[0] = percent

        verification = None
        try:
            place = delivered(where, known, endpoint=endpoint_url, region=region, keys=keys)
            verification = verifier.Verifier(place, since=hours[0], until=hours[1], advance=told)
            found = verification.run()
        except verifier.Unreadable as error:
            for line in verifier.problems_of(verification.found) if verification is not None else ():
                console.stdout.print(line, markup=False)
            raise Unavailable(str(error)) from None
    if as_json:
        console.stdout.print_json(json.dumps({"ok": found.ok, **dataclasses.asdict(found)}))
    else:
        for line in verifier.lines_of(found):
            console.stdout.print(line, markup=False)
    raise typer.Exit(0 if found.ok else EXIT_REQUEST)
