"""The verbs of the exporters."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import console
from pipeline import settings as settings_module
from pipeline.errors import ConfigError
from pipeline.settings import DEFAULT_DATA

app = typer.Typer(no_args_is_help=True, add_completion=False)
report_app = typer.Typer(
    no_args_is_help=True,
    help="Ask for a report: CSV or JSON on standard output, everything about it on standard error.",
)
app.add_typer(report_app, name="report")

Data = Annotated[Path, typer.Option("--data", help="Directory of the system's state")]
From = Annotated[str, typer.Option("--from", help="First day or instant, on a 15-minute edge")]
To = Annotated[str, typer.Option("--to", help="End, exclusive")]
Tz = Annotated[str, typer.Option("--tz", help="IANA time zone of --from, --to and --as-of")]
Out = Annotated[str, typer.Option("-o", "--output", help="File, or - for standard output")]
Gzip = Annotated[bool, typer.Option("--gzip", help="Compress")]
Excel = Annotated[bool, typer.Option("--excel", help="Begin with a byte order mark, as Excel wants it")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for completeness")]


@app.command()
def reports(
    data: Data = DEFAULT_DATA, port: Annotated[int | None, typer.Option("--port", help="Port to listen on")] = None
) -> None:
    """Run the reports service.  Example: activity reports --data .activity --port 8080"""
    console.collect_rarely()
    from exporters import app as service

    service.main(settings_module.load(data, reports_port=port))


@app.command()
def link(data: Data = DEFAULT_DATA) -> None:
    """Print a link that opens the pages: it signs one person in, once, within the hour.  Example: activity link"""
    from exporters.client import Client

    console.stdout.print(Client(settings_module.load(data)).link(), markup=False)


@report_app.command()
def active(
    start: From,
    to: To,
    tz: Tz = "UTC",
    output: Out = "-",
    gzip: Gzip = False,
    excel: Excel = False,
    timeout: Timeout = 60.0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Who used the network.  Example: activity report active --from 2026-03-01 --to 2026-04-01 --tz Europe/Berlin"""
    _report(
        data,
        output,
        {"kind": "active", "from": start, "to": to, "tz": tz, "gzip": gzip, "excel": excel, "timeout_seconds": timeout},
    )


@report_app.command()
def inactive(
    days: Annotated[int | None, typer.Option("--days", help="Days without access (default: the setting, 90)")] = None,
    as_of: Annotated[str, typer.Option("--as-of", help="Instant to count back from (default: now)")] = "",
    tz: Tz = "UTC",
    output: Out = "-",
    gzip: Gzip = False,
    excel: Excel = False,
    timeout: Timeout = 60.0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Who did not use it.  Example: activity report inactive --days 90"""
    _report(
        data,
        output,
        {
            "kind": "inactive",
            "days": days,
            "as_of": as_of,
            "tz": tz,
            "gzip": gzip,
            "excel": excel,
            "timeout_seconds": timeout,
        },
    )


@report_app.command()
def authentication(
    start: From,
    to: To,
    tz: Tz = "UTC",
    form: Annotated[str, typer.Option("--format", help="ndjson, json or ocsf")] = "ndjson",
    user: Annotated[str, typer.Option("--user", help="Only this e-mail or id")] = "",
    type_: Annotated[str, typer.Option("--type", help="Only this type, such as client_login")] = "",
    result: Annotated[str, typer.Option("--result", help="success or failure")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Only failures for this reason")] = "",
    output: Out = "-",
    gzip: Gzip = False,
    timeout: Timeout = 60.0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Every sign-in and why it failed.  Example: activity report authentication --from 2026-03-01 --to 2026-04-01 --result failure"""
    ask = {
        "kind": "authentication",
        "from": start,
        "to": to,
        "tz": tz,
        "format": form,
        "gzip": gzip,
        "timeout_seconds": timeout,
    }
    _report(data, output, ask | {"user": user, "type": type_, "result": result, "reason": reason})


def _report(data: Path, output: str, ask: dict[str, Any]) -> None:
    from exporters.client import Client
    from pipeline.model.times import iso

    settings = settings_module.load(data)
    client = Client(settings)
    run = client.report(ask, waiting=lambda state: console.say(f"{state} …"))
    asked = run["parameters"]
    if "to_ms" in asked:
        console.say(
            f"window {ask['from']} to {ask['to']} {ask['tz']} = [{iso(asked.get('from_ms', 0))}, {iso(asked['to_ms'])})"
        )
    else:
        console.say(f"as of {iso(asked.get('as_of_ms', 0))}")
    for note in run["notes"]:
        console.say(note)
    console.say(f"{run['file']}: {run['rows']} rows, complete through {iso(run['complete_through'])}")
    pieces = client.file(run["run"])
    if output == "-":
        try:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    part = Path(output + ".part")
    try:
        with part.open("wb") as out:
            for piece in pieces:
                out.write(piece)
        part.replace(output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror}); choose another file with -o") from None
