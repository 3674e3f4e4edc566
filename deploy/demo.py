"""The five-minute tour: the whole system in a temporary directory, the shipped samples in, the three reports and the delivered objects out, nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from deploy import check as checks
from deploy.local.stack import OBJECTS, Stack, Stopped, until_signal
from exporters.sync import verify
from pipeline import clock, console
from pipeline.errors import EXIT_REQUEST, EXIT_SIGNAL, Problem

SAMPLES = Path(__file__).with_name("samples")
EVENTS = ("connector.log", "network-events.ndjson", "network-events.csv", "authentication.ndjson")
MARCH = ("--from", "2026-03-01", "--to", "2026-04-01", "--tz", "Europe/Berlin")
SHOWN_LINES = 8
PACE = {"idle_seconds": 0.5, "manifest_seconds": 0.5}
KINDS = {"connections": "network_access", "authentications": "authentication"}


def run() -> None:
    """Raises Problem if anything of it does not work."""
    until_signal()
    try:
        _run()
    except Stopped:
        sys.exit(EXIT_SIGNAL + signal.SIGINT)


def _run() -> None:
    began = clock.monotonic()
    with tempfile.TemporaryDirectory(prefix="activity-demo-") as directory:
        data = Path(directory)
        console.say(
            "starting Kafka, Redis, the worker, the reports service and the sync (the very first start fetches Kafka) …"
        )
        with Stack(data, deliver=PACE) as stack:
            console.say(f"ready after {clock.monotonic() - began:.1f} s at {stack.url}/")
            take_in(data)
            for title, verb in (
                ("Active Users, March 2026 in Berlin", ("active", *MARCH)),
                (
                    "Inactive Users, 5 days before 31 March",
                    ("inactive", "--days", "5", "--as-of", "2026-03-31", "--tz", "Europe/Berlin"),
                ),
                ("Authentication Events, failures of March", ("authentication", *MARCH, "--result", "failure")),
            ):
                sys.stdout.write(f"\n=== {title}: activity report {' '.join(verb)}\n")
                _show(_activity("report", *verb, data=data, capture=True))
            found = checks.check(stack.settings())
            _became(found)
            _delivered(stack, found)
            console.say(f"resident memory of the whole system: {_resident() / 1e6:.0f} MB")
            if not found.ok:
                raise Problem("; ".join(found.off))
    console.say(f"stopped; {clock.monotonic() - began:.1f} s in all")


def take_in(data: Path) -> None:
    """The shipped samples into the running system of `data`; what was taken in before is not taken in again."""
    _activity("users", "import", str(SAMPLES / "users.csv"), data=data)
    for name in EVENTS:
        console.say(f"\n$ activity ingest {name}")
        _activity("ingest", str(SAMPLES / name), data=data, also=EXIT_REQUEST)


def _activity(*arguments: str, data: Path | None = None, capture: bool = False, also: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments, *(["--data", str(data)] if data is not None else [])],
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode not in (0, also):
        raise Problem(f"`activity {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout or ""


def _show(text: str) -> None:
    lines = text.splitlines()
    for line in lines[:SHOWN_LINES]:
        sys.stdout.write(line[:240] + ("…" if len(line) > 240 else "") + "\n")
    if len(lines) > SHOWN_LINES:
        sys.stdout.write(f"… {len(lines) - SHOWN_LINES} more lines\n")
    sys.stdout.flush()


def _became(found: checks.Findings) -> None:
    sys.stdout.write("\n=== What became of every record\n")
    for role in ("connections", "authentications"):
        rows = [r for r in found.ledgers if f".{role}/" in r["partition"]]
        total = sum(r["offset"] + 1 - r["first_offset"] for r in rows)
        applied, duplicate = sum(r["applied"] for r in rows), sum(r["duplicate"] for r in rows)
        rejected = sum(sum(r["rejected"].values()) for r in rows)
        sys.stdout.write(
            f"{role}: {total} records = {applied} applied + {duplicate} duplicates + {rejected} rejected\n"
        )
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(found.rejected.items()))
    sys.stdout.write(f"rejected: {reasons}\n")
    sys.stdout.flush()


def _delivered(stack: Stack, found: checks.Findings) -> None:
    """Wait until the manifests account for every offset; show what lies there and that it can be proved."""
    objects = stack.data / OBJECTS
    ends = {_chain(row["partition"]): row["end"] for row in found.ledgers}
    stack.wait(30, "the delivery", lambda: objects.is_dir() and _accounted(objects) == ends)
    sys.stdout.write("\n=== Delivered objects: NDJSON in the vendor's envelope, hourly manifests beside them\n")
    names = sorted(f"{p.relative_to(objects)}  {p.stat().st_size} bytes" for p in objects.rglob("*.ndjson.gz"))
    _show("\n".join(names))
    sys.stdout.write("\n=== Proved from the objects alone: activity verify\n")
    said = _activity("verify", str(objects), capture=True).splitlines()
    sys.stdout.write("\n".join(said[-2:]) + "\n")


def _accounted(objects: Path) -> dict[tuple[str, int], int]:
    """{(kind, partition): up to which offset manifests account}."""
    told: dict[tuple[str, int], int] = {}
    for file in (objects / "manifests").rglob("*.json"):
        match = verify.MANIFEST.fullmatch(file.relative_to(objects).as_posix())
        if match is not None:
            place = match["kind"], int(match["partition"])
            told[place] = max(told.get(place, 0), int(match["last"]))
    return told


def _chain(partition: str) -> tuple[str, int]:
    topic, _, number = partition.rpartition("/")
    return KINDS[topic.rpartition(".")[2]], int(number)


def _resident() -> int:
    own = psutil.Process()
    return sum(p.memory_info().rss for p in [own, *own.children(recursive=True)])
