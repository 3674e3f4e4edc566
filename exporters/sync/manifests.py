"""The account that lies beside the objects: what an hour delivered, from which offsets, with which hashes.  Pure: a function of the log of cuts.

`docs/sync.md` describes the form; `exporters/sync/verify.py` reads it and nothing else.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from exporters.sinks.sink import Document
from exporters.sync import keys
from exporters.sync.batches import Place
from exporters.sync.cuts import EVENTS, Account, Attempt, Entry
from pipeline.model.times import iso

VERSION = 1
MEDIA_TYPE = "application/json"


def document(account: Account, place: Place, destination: str, topic: str) -> Document:
    manifest = account.manifest
    entries = [_entry(e) for e in account.entries]
    told = {
        "version": VERSION,
        "destination": destination,
        "kind": place.kind,
        **({"backfill": place.folder.split("/")[1]} if place.folder else {}),
        "topic": topic,
        "stream": place.stream,
        "partition": place.partition,
        **({"partitions": manifest.partitions} if manifest.partitions else {}),
        "hour": iso(manifest.hour),
        "written_at": iso(manifest.at),
        "first": manifest.first,
        "end": manifest.end,
        "markers": [{"what": m.what, "at": iso(m.at), **({"note": m.note} if m.note else {})} for m in account.markers],
        "totals": {
            "objects": sum(len(e["objects"]) for e in entries),
            **{n: sum(e.get(n, 0) for e in entries) for n in ("events", "rejects", "duplicates", "filtered", "gaps")},
            "lost": sum(e["end"] - e["first"] for e in entries if e["kind"] == "lost"),
        },
        "entries": entries,
    }
    key = place.folder + keys.manifest(
        place.kind, place.stream, place.partition, manifest.first, manifest.end, manifest.hour
    )
    body = msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
    return Document(key, body, MEDIA_TYPE, hashlib.sha256(body).hexdigest())


def _entry(entry: Entry) -> dict[str, Any]:
    """Counts and objects are those of the first attempt; further ones, which may have been stored instead, stand beside it."""
    cut = entry.cut
    told: dict[str, Any] = {"kind": cut.kind, "first": cut.first, "end": cut.end}
    if cut.kind != EVENTS:
        return told | {"objects": []}
    told |= {"outcome": entry.outcome} | _attempt(entry.attempts[0])
    if len(entry.attempts) > 1:
        told["other_attempts"] = [_attempt(a) for a in entry.attempts[1:]]
    return told


def _attempt(attempt: Attempt) -> dict[str, Any]:
    objects = [
        {"key": part.key, "of": of, "sha256": part.sha256, "bytes": part.bytes, "lines": part.lines}
        for of, part in (("events", attempt.events), ("rejects", attempt.rejects))
        if part is not None
    ]
    times = {"min_time": iso(attempt.min_time), "max_time": iso(attempt.max_time)} if attempt.events else {}
    return {
        "events": attempt.events.lines if attempt.events else 0,
        "rejects": attempt.rejects.lines if attempt.rejects else 0,
        "duplicates": attempt.duplicates,
        "filtered": attempt.filtered,
        "gaps": attempt.gaps,
        **times,
        "encoder": attempt.encoder,
        "revision": attempt.revision,
        "objects": objects,
    }
