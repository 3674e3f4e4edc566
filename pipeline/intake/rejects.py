"""The refused records: what they are, without their content, and sending them once more after what was wrong is mended."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.errors import RequestError
from pipeline.intake.records import Sender, read
from pipeline.settings import Settings
from pipeline.topics import ORIGIN_HEADER, PATH_HEADER, REASON_HEADER, REJECTS


class Reject(NamedTuple):
    """One refused record; `id` is where its bytes first lay (topic/partition/offset), `at` when it was refused, UTC ms."""

    id: str
    reason: str
    path: str
    at: int
    key: bytes | None
    value: bytes | None


def rejects(settings: Settings) -> dict[str, Reject]:
    """{id: reject}, each once, however often it was refused."""
    found: dict[str, Reject] = {}
    for record in read(settings, REJECTS):
        headers = {k: v.decode("utf-8", "replace") for k, v in record.headers}
        id_ = headers.get(ORIGIN_HEADER, f"{record.topic}/{record.partition}/{record.offset}")
        found[id_] = Reject(
            id_,
            headers.get(REASON_HEADER, "?"),
            headers.get(PATH_HEADER, "$"),
            record.timestamp,
            record.key,
            record.value,
        )
    return found


def replay(settings: Settings, chosen: list[Reject]) -> int:
    """Send rejects to where they came from, under their origin: a replay is a duplicate only of another replay of that origin."""
    sender = Sender(settings)
    for reject in chosen:
        topic, partition, _offset = reject.id.rsplit("/", 2)
        sender.send(
            topic,
            key=reject.key,
            value=reject.value,
            partition=int(partition),
            headers=[(ORIGIN_HEADER, reject.id.encode())],
        )
    sender.flush()
    sender.close()
    return len(chosen)


def choose(found: dict[str, Reject], *, ids: str, reason: str) -> list[Reject]:
    """Those asked for.  Raises RequestError if an id is not there."""
    if ids:
        wanted = [i.strip() for i in ids.split(",") if i.strip()]
        missing = [i for i in wanted if i not in found]
        if missing:
            raise RequestError(f"no such reject: {', '.join(missing)}; see `activity rejects list`")
        return [found[i] for i in wanted]
    return [r for r in found.values() if not reason or r.reason == reason]
