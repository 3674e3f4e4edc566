"""The refused records: what they are, without their content, and sending them once more after what was wrong is mended.

On its source topic a replay is a record of its own, counted once like any other.
"""

from __future__ import annotations

from pipeline.errors import RequestError
from pipeline.intake.records import Sender, read
from pipeline.model.events import Reason
from pipeline.model.rejects import Reject, reject_of, replay_headers, source_of
from pipeline.settings import Settings
from pipeline.topics import AUTHENTICATIONS, CONNECTIONS, REJECTS


def rejects(settings: Settings) -> dict[str, Reject]:
    """{id: reject}, each once, however often it was refused."""
    return {reject.id: reject for reject in map(reject_of, read(settings, REJECTS))}


def choose(found: dict[str, Reject], *, ids: str, reason: str) -> list[Reject]:
    """Those asked for.  Raises RequestError if an id or a reason is not there."""
    if reason and reason not in set(Reason):
        raise RequestError(f"no such reason: {reason}; the reasons are {', '.join(Reason)}")
    if ids:
        wanted = dict.fromkeys(i.strip() for i in ids.split(",") if i.strip())
        missing = [i for i in wanted if i not in found]
        if missing:
            raise RequestError(f"no such reject: {', '.join(missing)}; see `activity rejects list`")
        return [found[i] for i in wanted]
    return [r for r in found.values() if not reason or r.reason == reason]


def replay(settings: Settings, chosen: list[Reject]) -> int:
    """Send rejects to where they came from, under their origin; how many were sent."""
    with Sender(settings) as sender:
        names = [t.name(prefix=settings.topic_prefix, app=settings.app_id) for t in (CONNECTIONS, AUTHENTICATIONS)]
        counts = {name: sender.partitions(name) for name in names}
        targets = {r.place: target for r in chosen if (target := source_of(r.id, counts))}
        for record in read(settings, REJECTS) if targets else ():
            if target := targets.get((record.partition, record.offset)):
                topic, partition = target
                headers = replay_headers(reject_of(record).id)
                sender.send(topic, key=record.key, value=record.value, partition=partition, headers=headers)
    return len(targets)
