"""The three report kinds: what they ask the store, what file they become.  Rows stream from the engine into the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from exporters import documents, ocsf
from exporters.reports.columns import ACTIVE, INACTIVE
from exporters.reports.people import People
from exporters.store.store import Store
from exporters.sync.envelopes import dumps
from pipeline.model.dialects import document_of

BUCKET_MS = 900_000
DAY_MS = 24 * 3600 * 1000

ACTIVE_KIND, INACTIVE_KIND, AUTHENTICATION_KIND = "active", "inactive", "authentication"
KINDS = {
    ACTIVE_KIND: "Who used the network in a window, how, and from where",
    INACTIVE_KIND: "Whose last access lies further back than a number of days",
    AUTHENTICATION_KIND: "Every sign-in of a window and why it failed",
}


class Parameters(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a report asks.  Instants in UTC ms; `to_ms` exclusive; `as_of_ms` on a bucket's edge."""

    from_ms: int = 0
    to_ms: int = 0
    as_of_ms: int = 0
    days: int = 0
    device_days: int = 30
    user: str = ""
    type: str = ""
    result: str = ""
    reason: str = ""
    format: str = "csv"
    gzip: bool = False
    excel: bool = False
    tz: str = "UTC"


@dataclass(frozen=True, slots=True)
class Built:
    file_name: str
    written: documents.Written
    notes: list[str]


def build(
    store: Store,
    kind: str,
    parameters: Parameters,
    *,
    asked_at_ms: int,
    path: Path,
    watch: Callable[[int], None] = lambda _rows: None,
) -> Built:
    """Make the file at `path`; `asked_at_ms` is when it was asked for, which is when active devices are counted.

    `watch` is told of rows as they go into the file, and of none now and then before; what it raises ends the work.
    """
    name = file_name(kind, parameters)
    pieces, notes = _pieces(store, kind, parameters, asked_at_ms, watch)
    inner = name.removesuffix(".gz") if parameters.gzip else None
    return Built(name, documents.write(path, _watched(pieces, watch), gzip_name=inner), notes)


def _watched(pieces: Iterable[tuple[bytes, int]], watch: Callable[[int], None]) -> Iterator[tuple[bytes, int]]:
    for piece, rows in pieces:
        watch(rows)
        yield piece, rows


_SUFFIXES = {"ocsf": "ocsf.ndjson"}


def file_name(kind: str, parameters: Parameters) -> str:
    form = "csv" if kind != AUTHENTICATION_KIND else _SUFFIXES.get(parameters.format, parameters.format)
    suffix = form + (".gz" if parameters.gzip else "")
    if kind == INACTIVE_KIND:
        return f"inactive-users_{_day(parameters.as_of_ms, parameters.tz)}_{parameters.days}-days.{suffix}"
    stem = "active-users" if kind == ACTIVE_KIND else "authentication-events"
    return f"{stem}_{_day(parameters.from_ms, parameters.tz)}_{_day(parameters.to_ms - 1, parameters.tz)}.{suffix}"


def _day(ms: int, zone: str) -> str:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).strftime("%Y-%m-%d")


def _pieces(
    store: Store, kind: str, p: Parameters, asked_at_ms: int, watch: Callable[[int], None]
) -> tuple[Iterable[tuple[bytes, int]], list[str]]:
    people = People(store, partial(watch, 0))
    if kind == ACTIVE_KIND:
        now = asked_at_ms - asked_at_ms % BUCKET_MS
        users = people.active((p.from_ms, p.to_ms), (now - p.device_days * DAY_MS, now + BUCKET_MS))
        return documents.csv_lines([c.name for c in ACTIVE], _cells(ACTIVE, users), excel=p.excel), []
    if kind == INACTIVE_KIND:
        known = bool(next(store.rows("accounts"))[0])
        notes = [f"inactive: last access before {p.days} x 24 hours before the instant asked about, or none"]
        if not known:
            notes.append(
                "there is no directory: the population is everyone ever seen in an event; load one with `activity users import`"
            )
        gone = people.inactive(p.as_of_ms, p.as_of_ms - p.days * DAY_MS, directory=known)
        return documents.csv_lines([c.name for c in INACTIVE], _cells(INACTIVE, gone), excel=p.excel), notes
    rows = store.rows(
        "authentication",
        a=p.from_ms,
        b=p.to_ms,
        who=p.user,
        folded=p.user.casefold(),
        type=p.type,
        result=p.result,
        reason=p.reason,
    )
    texts = (r[0] for r in rows)
    if p.format == "json":
        return documents.json_array(texts), []
    return documents.ndjson_lines(map(_ocsf, texts) if p.format == "ocsf" else texts), []


def _ocsf(text: str) -> str:
    return dumps(ocsf.authentication(document_of(text.encode()))).decode()


def _cells(columns: tuple[Any, ...], rows: Iterable[Any]) -> Iterator[list[str | int]]:
    makers = [c.of for c in columns]
    for row in rows:
        yield [make(row) for make in makers]
