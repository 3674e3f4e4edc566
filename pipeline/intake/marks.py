"""How far each file was taken in, on a topic of its own: what a mark names is stored, what lies behind it may be too."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from pipeline.intake.records import Sender, read
from pipeline.settings import Settings
from pipeline.topics import INGESTED


class Mark(NamedTuple):
    """`lines` of the file are stored, all of it if `done`.  A followed file has also `end`, where in its bytes they end, and what lies just before (`seal`)."""

    done: bool
    lines: int
    end: int = 0
    seal: str = ""
    at: int = 0  # when, UTC ms


def marks(settings: Settings) -> dict[str, Mark]:
    """{fingerprint: its newest mark}."""
    found: dict[str, Mark] = {}
    for record in read(settings, INGESTED):
        if record.value:
            given = orjson.loads(record.value)
            found[record.key.decode()] = Mark(
                bool(given.get("done", True)),
                int(given.get("lines", 0)),
                int(given.get("end", 0)),
                str(given.get("seal", "")),
                record.timestamp,
            )
    return found


def remember(sender: Sender, key: str, mark: Mark, *, name: str) -> None:
    """Send a mark; for the caller to have flushed what it names."""
    value = {"name": name, "done": mark.done, "lines": mark.lines, "end": mark.end, "seal": mark.seal}
    sender.send(INGESTED, key=key.encode(), value=orjson.dumps(value))
