"""The verbs that take things in: ingest, users, rejects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import console
from pipeline import settings as settings_module
from pipeline.cli import Data, Json
from pipeline.errors import EXIT_REQUEST, EXIT_SIGNAL, RequestError
from pipeline.intake.places import Way, is_place, opened
from pipeline.settings import DEFAULT_DATA

if TYPE_CHECKING:
    from pipeline.intake import ingest as intake

app = typer.Typer(no_args_is_help=True, add_completion=False)
users_app = typer.Typer(no_args_is_help=True, help="The directory of accounts.")
rejects_app = typer.Typer(no_args_is_help=True, help="Records that could not be events.")
app.add_typer(users_app, name="users")
app.add_typer(rejects_app, name="rejects")


@app.command()
def ingest(
    files: Annotated[list[str], typer.Argument(help="Files, - for standard input, or s3://bucket/prefix")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decode here, send nothing")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Keep reading what is added")] = False,
    again: Annotated[bool, typer.Option("--again", help="Send a file although it was taken in before")] = False,
    endpoint_url: Annotated[str, typer.Option("--endpoint-url", help="Another S3 endpoint than the vendor's")] = "",
    region: Annotated[str, typer.Option("--region", help="Region of the bucket")] = "",
    keys: Annotated[
        Path | None, typer.Option("--keys", help='File with {"key_id": …, "secret": …}; else the machine\'s own')
    ] = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Send events from files or from a bucket.  Example: activity ingest connector.log network-events.csv

    Of a bucket, `activity ingest s3://bucket/prefix --follow`, each object is sent once, in the form of the vendor's own S3 sync.
    Lines over 1 MiB, which Kafka does not take, are left out and said with their numbers.
    Use one source per gateway: the same connection from a connector's log and from an S3 export is two events.
    """
    from pipeline.intake import ingest as intake

    if any(map(is_place, files)):
        way = Way(endpoint_url, region, keys)
        _ingest_objects(files, way, data, dry_run=dry_run, follow=follow, again=again, as_json=as_json)
        return
    settings = settings_module.load(data)
    account, refused = intake.Account(), 0
    with intake.stopping() as asked:
        if dry_run:
            intake.dry_run(files, account, lambda: bool(asked))
        elif follow and files != [intake.STANDARD_INPUT]:
            intake.follow(settings, files, account, lambda: bool(asked))
        else:
            refused = intake.ingest(settings, files, account, lambda: bool(asked), again=again)
    if refused < len(files):
        _say_account(account, dry_run=dry_run, as_json=as_json)
    if asked and not follow and files != [intake.STANDARD_INPUT]:
        raise typer.Exit(EXIT_SIGNAL + asked[0])
    if refused:
        raise typer.Exit(EXIT_REQUEST)


def _ingest_objects(
    names: list[str], way: Way, data: Path, *, dry_run: bool, follow: bool, again: bool, as_json: bool
) -> None:
    from pipeline.intake import ingest as intake
    from pipeline.intake import objects

    if files := [name for name in names if not is_place(name)]:
        raise RequestError(
            f"{files[0]} is a file and {names[0]} is not one of its kind; take them in one after the other"
        )
    settings = settings_module.load(data)
    account, taken = intake.Account(), objects.Taken()
    places = [opened(name, way) for name in names]
    with intake.stopping() as asked:
        if dry_run:
            taken = objects.dry_run(places, account, lambda: bool(asked))
        elif follow:
            taken = objects.follow(settings, places, account, lambda: bool(asked))
        else:
            taken = objects.ingest(settings, places, account, lambda: bool(asked), again=again)
    if not dry_run:
        taken.say(", ".join(place.place for place in places))
    _say_account(account, dry_run=dry_run, as_json=as_json)
    if asked and not follow:
        raise typer.Exit(EXIT_SIGNAL + asked[0])
    if taken.broken:
        raise typer.Exit(EXIT_REQUEST)


def _say_account(account: intake.Account, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        console.stdout.print_json(json.dumps(account.as_dict()))
        return
    console.say(f"read {account.read} lines" + (f" after the first {account.resumed}" if account.resumed else ""))
    for topic, count in sorted(account.sent.items()):
        console.say(f"  {count} {'would be events of' if dry_run else 'sent to'} {topic}")
    for kind, count in sorted(account.skipped.items()):
        where = f" (lines {', '.join(map(str, account.too_long[:10]))})" if kind.startswith("longer") else ""
        console.say(f"  {count} skipped: {kind}{where}")
    for reason, count in sorted(account.rejected.items()):
        console.say(f"  {count} would be rejected: {reason}")


@users_app.command("import")
def users_import(
    file: Annotated[Path, typer.Argument(help="CSV, JSON or NDJSON with id, email, name, state, created")],
    replace: Annotated[bool, typer.Option("--replace", help="Also remove accounts that are not in the file")] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Load accounts into the directory.  Example: activity users import users.csv --replace"""
    from pipeline.intake import directory

    done = directory.import_accounts(settings_module.load(data), file, replace=replace)
    if as_json:
        console.stdout.print_json(json.dumps(done))
    else:
        console.say("accounts: " + (", ".join(f"{n} {what}" for what, n in done.items()) or "none"))


Reason = Annotated[str, typer.Option("--reason", help="Only this reason")]


@rejects_app.command("list")
def rejects_list(
    reason: Reason = "",
    limit: Annotated[int, typer.Option("--limit", help="At most this many")] = 100,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """What was refused, why, and where it lies; never its content.  Example: activity rejects list --reason bad_time"""
    from collections import Counter

    from pipeline.intake import rejects
    from pipeline.model.times import iso

    chosen = rejects.choose(rejects.rejects(settings_module.load(data)), ids="", reason=reason)
    counts = Counter(r.reason for r in chosen)
    rows = [{"id": r.id, "reason": r.reason, "path": r.path, "at": iso(r.at), "bytes": r.size} for r in chosen[:limit]]
    if as_json:
        console.stdout.print_json(json.dumps({"counts": counts, "rejects": rows}))
        return
    for row in rows:
        console.stdout.print("{id}  {reason}  {path}  {at}  {bytes} bytes".format(**row), markup=False)
    console.say(", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "no rejects")


@rejects_app.command("replay")
def rejects_replay(
    ids: Annotated[str, typer.Option("--ids", help="Comma separated ids from the list")] = "",
    reason: Reason = "",
    every: Annotated[bool, typer.Option("--all", help="All of them")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Send rejects once more to where they came from.  Example: activity rejects replay --reason unknown_type"""
    from pipeline.intake import rejects

    if not (ids or reason or every):
        raise RequestError("say which: --ids, --reason or --all")
    settings = settings_module.load(data)
    chosen = rejects.choose(rejects.rejects(settings), ids=ids, reason=reason)
    sent = rejects.replay(settings, chosen)
    console.say(f"{sent} sent again")
    if sent < len(chosen):
        console.say(f"{len(chosen) - sent} cannot be: the place they name as their origin is not one of ours")
