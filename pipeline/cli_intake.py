"""The verbs that take things in: ingest, users, rejects."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated

import typer

from pipeline import console
from pipeline import settings as settings_module
from pipeline.cli import Data, Json
from pipeline.errors import RequestError
from pipeline.settings import DEFAULT_DATA

app = typer.Typer(no_args_is_help=True, add_completion=False)
users_app = typer.Typer(no_args_is_help=True, help="The directory of accounts.")
rejects_app = typer.Typer(no_args_is_help=True, help="Records that could not be events.")
app.add_typer(users_app, name="users")
app.add_typer(rejects_app, name="rejects")


@app.command()
def ingest(
    files: Annotated[list[str], typer.Argument(help="Files, or - for standard input")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decode here, send nothing")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Keep reading growing or rotated files")] = False,
    again: Annotated[bool, typer.Option("--again", help="Send a file although it was taken in before")] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Send events from files.  Example: activity ingest connector.log network-events.csv

    Use one source per gateway: the same connection from a connector's log and from an S3 export is two events.
    """
    from pipeline.intake import ingest as intake
    from pipeline.intake.records import Sender

    settings = settings_module.load(data)
    account = intake.Account()
    stopping: list[int] = []
    if dry_run:
        for name in files:
            intake.fingerprint(Path(name))
            intake.dry_run(Path(name), account)
    else:
        paths = [Path(f) for f in files if f != "-"]
        if paths and not (again or follow):
            intake.refuse_known(settings, paths)
        if follow or "-" in files:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda n, _frame: stopping.append(n))
        with Sender(settings) as sender:
            if follow and paths:
                intake.follow(sender, [intake.Tail(p) for p in paths], account, lambda: bool(stopping))
            else:
                for path in paths:
                    with console.progress(path.name, path.stat().st_size if path.exists() else 0) as advance:
                        intake.send_file(sender, path, account, advance)
            if "-" in files:
                intake.send_stream(sender, intake.stdin(), account, lambda: bool(stopping))
    if as_json:
        console.stdout.print_json(json.dumps(account.as_dict()))
        return
    console.say(f"read {account.read} lines")
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
